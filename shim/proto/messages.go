package proto

// Hello is the shim's first message on every connection.
type Hello struct{ Version, PID uint32 }

// Start asks a spare shim to start a container. Files: the state directory,
// the encoded plan, unless NoRoot the detached root mount, and the detached mounts
// of the plan's images.
type Start struct {
	ID               string
	LogPath          string
	OOMEvents        string
	MaxLine          uint32
	Stdin, StdinOnce bool
	NoRoot           bool
}

// Started answers Start.
type Started struct {
	PID       uint32
	StartedAt int64 // nanoseconds since 1970
}

// State answers a State request.
type State struct {
	ID                 string
	ShimPID, PID       uint32
	StartedAt          int64
	Exited             bool
	Execs              uint32
	LogErrors, LogLost uint64
}

// Signal asks for a signal to the first process, to the exec Exec, or to
// all processes of the container.
type Signal struct {
	Exec   string
	Number uint32
	All    bool
}

// Resize sets the size of the container's terminal.
type Resize struct{ Rows, Cols uint16 }

// Attach joins the container's streams. Files: those that are true, in order.
type Attach struct{ In, Out, Err bool }

// Attached answers Attach.
type Attached struct{ ID uint32 }

// Detach ends an attachment.
type Detach struct{ ID uint32 }

// Exec asks for one more process. Files: those that are true, in order, then
// the encoded process if Process is empty.
type Exec struct {
	ID           []byte
	In, Out, Err bool
	Process      []byte
}

// ExecStarted answers Exec. Files: the terminal, if the process has one.
type ExecStarted struct{ PID uint32 }

// Kill kills all that an exec started.
type Kill struct{ Exec string }

// Exited says that the container has exited and that its record is written.
type Exited struct{ Exit Exit }

// ExecExited says that an exec's process has exited.
type ExecExited struct {
	ID           []byte
	Code, Signal int32
}

// The usual reasons for the end of an attachment.
const (
	ReasonDetached = "detached"
	ReasonExited   = "container has exited"
	ReasonSlow     = "reader is too slow"
)

// Detached says that an attachment has ended, and why.
type Detached struct {
	ID     uint32
	Reason string
}

func (m *Hello) code(c coder) {
	u32(c, &m.Version)
	u32(c, &m.PID)
}

func (m *Start) code(c coder) {
	c.text(&m.ID, maxName)
	c.text(&m.LogPath, maxPath)
	c.text(&m.OOMEvents, maxPath)
	u32(c, &m.MaxLine)
	flag(c, &m.Stdin)
	flag(c, &m.StdinOnce)
	flag(c, &m.NoRoot)
}

func (m *Started) code(c coder) {
	u32(c, &m.PID)
	i64(c, &m.StartedAt)
}

func (m *State) code(c coder) {
	c.text(&m.ID, maxName)
	u32(c, &m.ShimPID)
	u32(c, &m.PID)
	i64(c, &m.StartedAt)
	flag(c, &m.Exited)
	u32(c, &m.Execs)
	u64(c, &m.LogErrors)
	u64(c, &m.LogLost)
}

func (m *Signal) code(c coder) {
	c.text(&m.Exec, maxName)
	u32(c, &m.Number)
	flag(c, &m.All)
}

func (m *Resize) code(c coder) {
	u16(c, &m.Rows)
	u16(c, &m.Cols)
}

func (m *Attach) code(c coder) {
	flag(c, &m.In)
	flag(c, &m.Out)
	flag(c, &m.Err)
}

func (m *Attached) code(c coder) { u32(c, &m.ID) }

func (m *Detach) code(c coder) { u32(c, &m.ID) }

func (m *Exec) code(c coder) {
	c.bytes(&m.ID, maxName)
	flag(c, &m.In)
	flag(c, &m.Out)
	flag(c, &m.Err)
	c.bytes(&m.Process, MaxInline)
}

func (m *ExecStarted) code(c coder) { u32(c, &m.PID) }

func (m *Kill) code(c coder) { c.text(&m.Exec, maxName) }

func (m *Exited) code(c coder) { m.Exit.code(c) }

func (m *ExecExited) code(c coder) {
	c.bytes(&m.ID, maxName)
	i32(c, &m.Code)
	i32(c, &m.Signal)
}

func (m *Detached) code(c coder) {
	u32(c, &m.ID)
	c.text(&m.Reason, maxDetail)
}
