// Package flat reads the kernel's small text files: single values and "flat keyed"
// lines (Documentation/admin-guide/cgroup-v2.rst, "Format"). It opens none.
package flat

import "bytes"

// Unlimited is the value of a limit that is not set.
const Unlimited = ^uint64(0)

// Number reads a decimal number; "max" and "-1" are Unlimited, anything else is 0.
func Number(b []byte) uint64 {
	b = bytes.TrimSpace(b)
	if string(b) == "max" || string(b) == "-1" {
		return Unlimited
	}
	var n uint64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0
		}
		n = n*10 + uint64(c-'0')
	}
	return n
}

// Fields calls f for each "key value" line.
func Fields(text []byte, f func(key string, value uint64)) {
	for line := range bytes.Lines(text) {
		if key, value, ok := bytes.Cut(line, []byte{' '}); ok {
			f(string(key), Number(value)) // the conversion is free where f only compares the key
		}
	}
}
