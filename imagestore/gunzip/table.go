package gunzip

// A table maps the next bits of the input to what they say. An entry is a value in
// its upper half and below it:
//
//	bits 0-4   how many bits the code has
//	bits 8-11  how many bits follow that are added to the value (subtables: how
//	           many bits choose from it)
//	bits 12-15 what it is; none is a length or a distance
type entry uint32

const (
	literal entry = 1 << 15 // the value is a byte
	special entry = 1 << 14 // one of the two below, or no code at all
	endMark entry = 1 << 13 // the block ends
	further entry = 1 << 12 // a longer code: the value is where its subtable begins

	lengthBits = 11 // of a literal or length, looked up at once
	distBits   = 9
	maxBits    = 15 // of any code
)

func (e entry) bits() uint    { return uint(e & 31) }
func (e entry) extra() uint   { return uint(e>>8) & 15 }
func (e entry) value() uint32 { return uint32(e >> 16) }

// entries of the alphabets, without the codes' bits (RFC 1951, 3.2.5).
var (
	lengthSymbols = makeLengthSymbols()
	distSymbols   = makeDistSymbols()
	codeSymbols   = makeCodeSymbols()
)

func makeLengthSymbols() (all [288]entry) {
	for i := range 256 {
		all[i] = literal | entry(i)<<16
	}
	all[256] = special | endMark
	base := 3
	for i := 257; i < 285; i++ {
		extra := max(0, (i-257)/4-1)
		all[i] = entry(base)<<16 | entry(extra)<<8
		base += 1 << extra
	}
	all[285] = 258 << 16
	all[286], all[287] = special, special
	return all
}

func makeDistSymbols() (all [32]entry) {
	base := 1
	for i := range 30 {
		extra := max(0, i/2-1)
		all[i] = entry(base)<<16 | entry(extra)<<8
		base += 1 << extra
	}
	all[30], all[31] = special, special
	return all
}

func makeCodeSymbols() (all [19]entry) {
	for i := range all {
		all[i] = entry(i) << 16
	}
	return all
}

// table is a decoding table; its first 1<<bits entries are the main one.
type table struct {
	bits    uint
	entries []entry
	deepest []uint8 // scratch: for each main entry the longest code behind it
}

func newTable(bits uint) table {
	return table{bits: bits, entries: make([]entry, 1<<bits, 2<<bits), deepest: make([]uint8, 1<<bits)}
}

// build fills the table for a canonical code: the length of each symbol's code,
// and what the symbols mean. It tells whether there is such a code: a complete
// one, a single code of one bit, or none at all.
func (t *table) build(lengths []uint8, symbols []entry) bool {
	var count, next [maxBits + 1]int
	for _, l := range lengths {
		count[l]++
	}
	count[0] = 0
	code, longest := 0, 0
	for l := 1; l <= maxBits; l++ {
		code <<= 1
		next[l] = code
		code += count[l]
		if count[l] > 0 {
			longest = l
		}
		if code > 1<<l {
			return false
		}
	}
	complete := longest > 0 && code<<0 == 1<<maxBits
	if !complete && longest > 1 || !complete && longest == 1 && count[1] != 1 {
		return false
	}
	t.entries = t.entries[:1<<t.bits]
	if !complete {
		for i := range t.entries {
			t.entries[i] = special
		}
	}
	if longest > int(t.bits) {
		t.subtables(lengths, next)
	}
	for s, l := range lengths {
		if l == 0 {
			continue
		}
		t.put(reversed(next[l], uint(l)), uint(l), symbols[s]|entry(l))
		next[l]++
	}
	return true
}

// subtables makes room for the codes that are longer than the main table.
func (t *table) subtables(lengths []uint8, next [maxBits + 1]int) {
	clear(t.deepest)
	for _, l := range lengths {
		if uint(l) > t.bits {
			at := reversed(next[l], uint(l)) & (1<<t.bits - 1)
			t.deepest[at] = max(t.deepest[at], l)
		}
		next[l]++
	}
	for at, l := range t.deepest {
		if l == 0 {
			continue
		}
		bits := uint(l) - t.bits
		t.entries[at] = special | further | entry(len(t.entries))<<16 | entry(bits)<<8
		for range 1 << bits {
			t.entries = append(t.entries, special)
		}
	}
}

// put files an entry under all bits that begin with its code.
func (t *table) put(code, length uint, e entry) {
	if length <= t.bits {
		for i := code; i < 1<<t.bits; i += 1 << length {
			t.entries[i] = e
		}
		return
	}
	sub := t.entries[code&(1<<t.bits-1)]
	for i := code >> t.bits; i < 1<<sub.extra(); i += 1 << (length - t.bits) {
		t.entries[uint(sub.value())+i] = e
	}
}

// reversed turns a code around: the input has its first bit lowest.
func reversed(code int, length uint) (r uint) {
	for range length {
		r = r<<1 | uint(code&1)
		code >>= 1
	}
	return r
}

// find gives the entry for the next bits, of which those beyond the input are 0.
func (t *table) find(bits uint64) entry {
	e := t.entries[bits&(1<<t.bits-1)]
	if e&further != 0 {
		e = t.entries[uint64(e.value())+bits>>t.bits&(1<<e.extra()-1)]
	}
	return e
}
