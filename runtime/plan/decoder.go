package plan

// maxKept bounds the memory that a Decoder keeps for the next process.
const maxKept = 16 << 10

// Decoder decodes one process after another into the same memory: a shim
// does so for every exec, for as long as its container runs. The zero Decoder
// is ready for use.
type Decoder struct {
	encoded []byte
	reader  reader
	process Process
}

// Process reads what Process.Encode wrote, as strictly as Decode. The result,
// with all of its texts, is good until the next call.
func (d *Decoder) Process(b []byte) (*Process, error) {
	if cap(d.encoded) > maxKept {
		*d = Decoder{}
	}
	d.encoded = append(d.encoded[:0], b...)
	p := &d.process
	*p = Process{Args: p.Args[:0], Env: p.Env[:0], Groups: p.Groups[:0], Rlimits: p.Rlimits[:0]}
	d.reader = reader{buf: d.encoded, alias: true}
	if err := p.decode(&d.reader); err != nil {
		return nil, err
	}
	return p, nil
}
