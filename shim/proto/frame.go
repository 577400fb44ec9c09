package proto

import "encoding/binary"

// Version is the protocol's. See the package documentation for what may change
// without a new one.
const Version = 1

// The bounds of one message.
const (
	MaxRequest = 64 << 10
	MaxReply   = 8 << 10
	MaxFiles   = 3 + MaxImages // those of Start
	// MaxImages is how many image volumes a container can have. The kernel takes
	// 253 descriptors in one message (SCM_MAX_FD).
	MaxImages = 128
)

// The bounds of the fields.
const (
	maxPath   = 4096
	maxName   = 128
	maxDetail = 1024
	// MaxInline is the longest process that an Exec carries in itself; a
	// longer one travels in a memfd.
	MaxInline = 48 << 10
)

// Kind says which part of a conversation a message is.
type Kind uint8

// The kinds.
const (
	Request Kind = 1 + iota
	Reply
	Failed
	Event
)

// Verb says what a message is about.
type Verb uint8

// The verbs, in the order of the table in the package documentation.
const (
	VerbHello Verb = 1 + iota
	VerbStart
	VerbState
	VerbSignal
	VerbResize
	VerbReopenLog
	VerbCloseStdin
	VerbAttach
	VerbDetach
	VerbExec
	VerbKill
	VerbShutdown
	VerbAbort
	VerbExited
	VerbExecExited
	VerbDetached
)

// headSize is the length of the part before the body.
const headSize = 8

// Head is the part of a message before the body.
type Head struct {
	Kind  Kind
	Verb  Verb
	Files uint16
	ID    uint32
}

// Body is one of the messages of this package.
type Body interface{ code(c coder) }

func (h Head) append(b []byte) []byte {
	b = append(b, byte(h.Kind), byte(h.Verb))
	b = binary.LittleEndian.AppendUint16(b, h.Files)
	return binary.LittleEndian.AppendUint32(b, h.ID)
}

// Append appends the message to b. body may be nil.
func Append(b []byte, h Head, body Body) []byte {
	b = h.append(b)
	if body == nil {
		return b
	}
	w := &writer{buf: b}
	body.code(w)
	return w.buf
}

// Parse takes a message apart. The body aliases b. Verbs are not checked:
// whoever does not know one says so to the sender.
func Parse(b []byte) (Head, []byte, error) {
	if len(b) < headSize || len(b) > MaxRequest {
		return Head{}, nil, ErrFormat
	}
	h := Head{
		Kind:  Kind(b[0]),
		Verb:  Verb(b[1]),
		Files: binary.LittleEndian.Uint16(b[2:]),
		ID:    binary.LittleEndian.Uint32(b[4:]),
	}
	if h.Kind < Request || h.Kind > Event || h.Files > MaxFiles {
		return Head{}, nil, ErrFormat
	}
	return h, b[headSize:], nil
}

// Decode is Room.Decode in a room of its own.
func Decode(body []byte, into Body) error { return new(Room).Decode(body, into) }
