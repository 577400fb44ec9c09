package page

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestSend(t *testing.T) {
	for name, c := range map[string]struct {
		sizes    []int // of the items
		messages []int // items in each
	}{
		"nothing":                          {nil, nil},
		"one":                              {[]int{10}, []int{1}},
		"by count":                         {make([]int, 2*MaxItems+1), []int{MaxItems, MaxItems, 1}},
		"by bytes":                         {[]int{MaxBytes / 2, MaxBytes / 3, MaxBytes / 2, 1}, []int{2, 2}},
		"one is more than a message holds": {[]int{1, MaxBytes * 3, 1, 1}, []int{1, 1, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			made, sent := 0, 0
			var got []int
			err := Send(c.sizes, Each(func(n int) *runtimeapi.Image {
				made++
				return &runtimeapi.Image{Id: fmt.Sprint(made), Username: strings.Repeat("x", n)}
			}), func(part []*runtimeapi.Image) error {
				bytes := 0
				for _, m := range part {
					sent++
					bytes += proto.Size(m)
					if m.GetId() != fmt.Sprint(sent) {
						t.Errorf("item %s is sent as number %d", m.GetId(), sent)
					}
				}
				if bytes > MaxBytes && len(part) > 1 {
					t.Errorf("%d items are %d bytes", len(part), bytes)
				}
				if made > sent+MaxItems {
					t.Errorf("%d items are made when %d are sent", made, sent)
				}
				got = append(got, len(part))
				return nil
			})
			if err != nil || fmt.Sprint(got) != fmt.Sprint(c.messages) || sent != len(c.sizes) {
				t.Errorf("messages of %v items, want %v; %v", got, c.messages, err)
			}
		})
	}
}

func TestSendStops(t *testing.T) {
	gone := errors.New("the client has gone")
	calls := 0
	err := Send(make([]int, 10*MaxItems), Each(func(int) *runtimeapi.Image { return &runtimeapi.Image{} }), func([]*runtimeapi.Image) error {
		calls++
		return gone
	})
	if !errors.Is(err, gone) || calls != 1 {
		t.Errorf("%v after %d messages", err, calls)
	}
}
