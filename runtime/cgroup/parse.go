package cgroup

import "bytes"

// number reads a decimal number; "max" and "-1" are Unlimited, anything else is 0.
func number(b []byte) uint64 {
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

// fields calls f for each "key value" line.
func fields(text []byte, f func(key string, value uint64)) {
	for line := range bytes.Lines(text) {
		if key, value, ok := bytes.Cut(line, []byte{' '}); ok {
			f(string(key), number(value)) // the conversion is free where f only compares the key
		}
	}
}
