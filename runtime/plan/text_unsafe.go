package plan

import "unsafe"

// text is b as a string, without a copy. It is good as long as nothing writes
// to b.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
