package gunzip

// codeOrder is the order in which a block gives the lengths of the codes for code
// lengths (RFC 1951, 3.2.7).
var codeOrder = [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// fixedCode sets the tables to the code that needs no description.
func (f *inflater) fixedCode() {
	if f.fixed {
		return
	}
	lengths := f.codeLengths[:288]
	for i := range lengths {
		switch {
		case i < 144:
			lengths[i] = 8
		case i < 256:
			lengths[i] = 9
		case i < 280:
			lengths[i] = 7
		default:
			lengths[i] = 8
		}
	}
	f.lengths.build(lengths, lengthSymbols[:])
	dists := f.codeLengths[288:320]
	for i := range dists {
		dists[i] = 5
	}
	f.dists.build(dists, distSymbols[:])
	f.fixed = true
}

// readCode reads the description of a block's code and makes the tables.
func (f *inflater) readCode() error {
	f.fixed = false
	if err := f.need(14); err != nil {
		return err
	}
	lengths, dists, codes := int(f.take(5))+257, int(f.take(5))+1, int(f.take(4))+4
	if lengths > 286 || dists > 30 {
		return errDeflate
	}
	var own [19]uint8
	for _, c := range codeOrder[:codes] {
		if err := f.need(3); err != nil {
			return err
		}
		own[c] = uint8(f.take(3))
	}
	if !f.codes.build(own[:], codeSymbols[:]) {
		return errDeflate
	}
	all := f.codeLengths[:lengths+dists]
	if err := f.readLengths(all); err != nil {
		return err
	}
	if !f.lengths.build(all[:lengths], lengthSymbols[:]) || !f.dists.build(all[lengths:], distSymbols[:]) {
		return errDeflate
	}
	return nil
}

// readLengths reads code lengths, which are coded themselves, with repetitions.
func (f *inflater) readLengths(all []uint8) error {
	for i := 0; i < len(all); {
		e, err := f.symbol(&f.codes)
		if err != nil {
			return err
		}
		what, times, extra := uint8(e.value()), 1, uint(0)
		switch what {
		case 16:
			if i == 0 {
				return errDeflate
			}
			what, times, extra = all[i-1], 3, 2
		case 17:
			what, times, extra = 0, 3, 3
		case 18:
			what, times, extra = 0, 11, 7
		}
		if err := f.need(extra); err != nil {
			return err
		}
		times += int(f.take(extra))
		if times > len(all)-i {
			return errDeflate
		}
		for range times {
			all[i] = what
			i++
		}
	}
	return nil
}
