package proto

import (
	"errors"
	"strconv"
	"strings"
)

// The files in a container's directory.
const (
	LockFile   = "shim.lock"
	SocketFile = "shim.sock"
	ExitFile   = "exit"
)

// Exit is how a container ended.
type Exit struct {
	Code   int32 // 128 + Signal when a signal killed it
	Signal int32
	At     int64 // nanoseconds since 1970
	OOM    bool
}

func (e *Exit) code(c coder) {
	i32(c, &e.Code)
	i32(c, &e.Signal)
	i64(c, &e.At)
	flag(c, &e.OOM)
}

// recordMagic begins an exit record. Later versions may add words at the end.
const recordMagic = "varve-exit-1"

// MaxRecord bounds an exit record's size.
const MaxRecord = 256

// ErrRecord is the error of an exit record that was not written by Record.
var ErrRecord = errors.New("malformed exit record")

// Record returns the exit as the content of the file ExitFile: one line, for
// programs and people.
func (e *Exit) Record() []byte {
	b := append(make([]byte, 0, MaxRecord), recordMagic...)
	for _, f := range []struct {
		name string
		v    int64
	}{{" code=", int64(e.Code)}, {" signal=", int64(e.Signal)}, {" at=", e.At}, {" oom=", b2i(e.OOM)}} {
		b = strconv.AppendInt(append(b, f.name...), f.v, 10)
	}
	return append(b, '\n')
}

// ParseRecord reads what Record wrote.
func ParseRecord(b []byte) (Exit, error) {
	line, whole := strings.CutSuffix(string(b), "\n")
	words := strings.Split(line, " ")
	if len(b) > MaxRecord || !whole || len(words) < 5 || words[0] != recordMagic {
		return Exit{}, ErrRecord
	}
	var v [4]int64
	for i, name := range [4]string{"code=", "signal=", "at=", "oom="} {
		text, ok := strings.CutPrefix(words[i+1], name)
		n, err := strconv.ParseInt(text, 10, 64)
		if !ok || err != nil {
			return Exit{}, ErrRecord
		}
		v[i] = n
	}
	e := Exit{Code: int32(v[0]), Signal: int32(v[1]), At: v[2], OOM: v[3] == 1}
	if int64(e.Code) != v[0] || int64(e.Signal) != v[1] || b2i(e.OOM) != v[3] {
		return Exit{}, ErrRecord
	}
	return e, nil
}

func b2i(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
