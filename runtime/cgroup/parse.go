package cgroup

import (
	"bytes"
	"strconv"
)

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

// parsePSI reads a pressure file:
//
//	some avg10=0.00 avg60=0.00 avg300=0.00 total=0
//	full avg10=0.00 avg60=0.00 avg300=0.00 total=0
func parsePSI(text []byte) *PSI {
	p := new(PSI)
	for line := range bytes.Lines(text) {
		kind, rest, _ := bytes.Cut(line, []byte{' '})
		switch string(kind) {
		case "some":
			p.Some = parseStall(rest)
		case "full":
			p.Full = parseStall(rest)
		}
	}
	return p
}

func parseStall(text []byte) Stall {
	var s Stall
	for word := range bytes.FieldsSeq(text) {
		key, value, _ := bytes.Cut(word, []byte{'='})
		switch string(key) {
		case "avg10":
			s.Avg10 = decimal(value)
		case "avg60":
			s.Avg60 = decimal(value)
		case "avg300":
			s.Avg300 = decimal(value)
		case "total":
			s.Total = number(value) * 1000 // the kernel counts microseconds
		}
	}
	return s
}

func decimal(b []byte) float64 {
	f, err := strconv.ParseFloat(string(b), 64)
	if err != nil {
		return 0
	}
	return f
}

// blkioV1 sums a v1 blkio file over all devices: "8:0 Read 4096".
func blkioV1(text []byte, read, write *uint64) {
	for line := range bytes.Lines(text) {
		_, rest, _ := bytes.Cut(line, []byte{' '})
		op, value, ok := bytes.Cut(rest, []byte{' '})
		if !ok {
			continue // the sum over all operations
		}
		switch string(op) {
		case "Read":
			*read += number(value)
		case "Write":
			*write += number(value)
		}
	}
}

// ioV2 sums io.stat over all devices: "8:0 rbytes=1 wbytes=2 rios=3 wios=4 ...".
func ioV2(text []byte, io *IOStats) {
	for word := range bytes.FieldsSeq(text) {
		key, value, ok := bytes.Cut(word, []byte{'='})
		if !ok {
			continue
		}
		switch string(key) {
		case "rbytes":
			io.ReadBytes += number(value)
		case "wbytes":
			io.WriteBytes += number(value)
		case "rios":
			io.ReadOps += number(value)
		case "wios":
			io.WriteOps += number(value)
		}
	}
}
