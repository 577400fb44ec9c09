package crilog

import "bytes"

// Stream is one of a container's two outputs.
type Stream struct {
	log  *Log
	name string
	line []byte // the beginning of a line whose end has not come
	head [64]byte
}

// Stream makes the stream with the name "stdout" or "stderr".
func (l *Log) Stream(name string) *Stream { return &Stream{log: l, name: name} }

// Write takes what the container wrote. All whole lines are in the file when
// it returns (or counted as lost).
func (s *Stream) Write(b []byte) {
	if s.log.fd < 0 || len(b) == 0 {
		return
	}
	head := s.stamp()
	for {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			break
		}
		s.full(head, b[:i])
		b = b[i+1:]
	}
	if len(b) > 0 {
		s.part(head, b)
	}
	s.log.flush()
}

// End takes the end of the stream: what is left of a line goes to the file.
func (s *Stream) End() {
	if s.log.fd >= 0 && len(s.line) > 0 {
		s.log.record(s.stamp(), 'P', s.line, nil)
		s.log.flush()
	}
	s.line = nil
}

// full writes the line that ends with rest.
func (s *Stream) full(head, rest []byte) {
	limit := s.log.maxLine
	for len(s.line)+len(rest) > limit {
		n := limit - len(s.line)
		s.log.record(head, 'P', s.line, rest[:n])
		s.line, rest = s.line[:0], rest[n:]
	}
	s.log.record(head, 'F', s.line, rest)
	s.line = s.line[:0]
}

// part keeps the beginning of a line, without what makes records of its own.
func (s *Stream) part(head, b []byte) {
	limit := s.log.maxLine
	for len(s.line)+len(b) > limit {
		n := limit - len(s.line)
		s.log.record(head, 'P', s.line, b[:n])
		s.line, b = s.line[:0], b[n:]
	}
	s.line = append(s.line, b...)
}

// stamp returns the beginning of the records of this moment.
func (s *Stream) stamp() []byte {
	h := s.log.now().UTC().AppendFormat(s.head[:0], stampLayout)
	h = append(h, ' ')
	h = append(h, s.name...)
	return append(h, ' ')
}
