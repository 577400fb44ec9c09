package program

import "unsafe"

// An Arg keeps a buffer as address and length: with the capacity of a slice
// in each of them, a program would be a fifth bigger.

func (a Arg) with(b []byte) Arg {
	a.at, a.num = unsafe.SliceData(b), uint64(len(b))
	return a
}

// bytes is the buffer of a buffer or a filter.
func (a *Arg) bytes() []byte { return unsafe.Slice(a.at, a.num) }
