// Package page sends long lists in messages of a bounded size, and makes the
// items while it sends: at no time is there more of a list in memory than one
// message and what its items are made from.
//
// It does not say which items a list has, or in which order.
package page

import "google.golang.org/protobuf/proto"

// MaxItems and MaxBytes bound a message, whichever comes first. An item of more
// than MaxBytes has a message of its own. gRPC keeps a message in a buffer of
// 32 KiB, and one that is larger in one of 1 MiB, on either side.
const (
	MaxItems = 64
	MaxBytes = 30 << 10
)

// Send reads the list, MaxItems at a time, and hands the items to send. Each
// item is sent once; without items nothing is sent.
func Send[T any, M proto.Message](list []T, read func([]T) []M, send func([]M) error) error {
	for len(list) > 0 {
		n := min(len(list), MaxItems)
		if err := sendPart(read(list[:n]), send); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}

func sendPart[M proto.Message](items []M, send func([]M) error) error {
	bytes, begin := 0, 0
	for i, m := range items {
		n := proto.Size(m)
		if i > begin && bytes+n > MaxBytes {
			if err := send(items[begin:i]); err != nil {
				return err
			}
			begin, bytes = i, 0
		}
		bytes += n
	}
	if begin == len(items) {
		return nil
	}
	return send(items[begin:])
}

// Each makes a reader of a list out of a function for one item.
func Each[T any, M proto.Message](item func(T) M) func([]T) []M {
	return func(list []T) []M {
		out := make([]M, len(list))
		for i, v := range list {
			out[i] = item(v)
		}
		return out
	}
}
