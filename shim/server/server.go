package server

import (
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/runtime/container"
	"github.com/varve-cri/varve/runtime/plan"
	"github.com/varve-cri/varve/shim/crilog"
	"github.com/varve-cri/varve/shim/proto"
)

// The bounds on what clients may ask for.
const (
	maxConns    = 64
	maxExecs    = 1024
	maxStarting = 64 // each has a thread
	maxAttach   = 512
	readSize    = 64 << 10
	idleTime    = 2 * time.Second // until orphans are looked for once more and memory is given back
	drainTime   = time.Second     // how long output is read after the exit
	retryTime   = time.Second     // between attempts to write the exit record
	noFile      = -1
	noDeadline  = -1
)

type phase uint8

const (
	waiting phase = iota
	running
	draining
	done
)

// server is the state of the shim. Only the loop's goroutine touches it.
type server struct {
	phase phase
	poll  *poller
	space *container.Space
	start *conn // the launcher's connection
	conns map[*conn]struct{}

	// The rest is set by Start.
	id        string
	dir       int // the state directory; also holds the lock by its file
	lock      int
	listen    int
	cgroup    plan.Cgroup
	ownPIDs   bool // the first process's end ends all others
	mayTrace  bool // a process of the container may have CAP_SYS_PTRACE
	init      *process
	startedAt time.Time
	handle    *os.File // init's pidfd
	oom       oomCounter
	log       *crilog.Log
	pumps     []*pump
	stdin     *stdin
	console   int // master side of the terminal

	execs       []*exec
	place       place
	free        *joiner                 // one that waits
	starting    int                     // of execs, those that have not begun
	strays      map[int]unix.WaitStatus // exits of nobody known, while some are starting
	later       *mailbox
	attachments map[uint32]*attachment
	lastAttach  uint32

	// What one message after the other uses; see proto.Room.
	room    proto.Room
	request request
	asked   proto.Exec
	started proto.ExecStarted
	over    proto.ExecExited
	unused  *exec // one that is over

	exit     proto.Exit
	deadline time.Time // draining: when to stop reading, or to try again to write the record
	buf      []byte    // for reading; not kept between calls
	floor    int       // private memory after the last collection
}

// process is a child of the shim.
type process struct {
	pid   int
	pidfd int
}

// ready does nothing: the reaping after each round of events finds the exit.
func (*process) ready(uint32) {}

// Options are what the launcher decides when it spawns a shim.
type Options struct {
	Socket      int    // the descriptor of the shim's end of the socketpair
	OOMScoreAdj string // for the shim itself; empty leaves it
}

// Run is the whole life of a shim. It must be called on the main thread,
// because SIGCHLD goes there. The error is for the shim's log.
func Run(o Options) error {
	unix.CloseOnExec(o.Socket)
	if err := unix.SetNonblock(o.Socket, true); err != nil {
		return err
	}
	if o.OOMScoreAdj != "" {
		// Lowering it needs CAP_SYS_RESOURCE, which a restricted node lacks.
		_ = os.WriteFile("/proc/self/oom_score_adj", []byte(o.OOMScoreAdj), 0)
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return err
	}
	s, err := newServer()
	if err != nil {
		return err
	}
	if s.start, err = s.addConn(o.Socket); err != nil {
		return err
	}
	if s.space, err = container.NewSpace(); err != nil {
		s.start.fail(proto.Head{Verb: proto.VerbHello}, proto.Fail("prepare space", "", err))
		return err
	}
	s.start.hello()
	return s.loop()
}

func newServer() (*server, error) {
	p, err := newPoller()
	if err != nil {
		return nil, err
	}
	later, err := newMailbox()
	if err != nil {
		return nil, err
	}
	if err := p.add(later.fd, unix.EPOLLIN, later); err != nil {
		return nil, err
	}
	return &server{
		poll: p, later: later, strays: map[int]unix.WaitStatus{}, conns: map[*conn]struct{}{},
		dir: noFile, lock: noFile, listen: noFile, console: noFile,
		oom:         oomCounter{fd: noFile},
		place:       place{dir: noFile},
		attachments: map[uint32]*attachment{},
	}, nil
}

func (s *server) loop() error {
	timeout := idleTime
	for s.phase != done {
		idle, err := s.poll.wait(msec(timeout))
		if err != nil {
			return err
		}
		s.reap()
		s.settle()
		timeout = idleTime
		if idle {
			s.rest()
			timeout = noDeadline
		}
		if s.phase == draining {
			timeout = max(time.Until(s.deadline), 0)
		}
	}
	return nil
}

func msec(d time.Duration) int {
	if d < 0 {
		return -1
	}
	return int((d + time.Millisecond - 1) / time.Millisecond)
}

// buffer is the read buffer, outside the heap so that rest can give it back.
func (s *server) buffer() []byte {
	if s.buf == nil {
		b, err := unix.Mmap(noFile, 0, readSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
		if err != nil {
			b = make([]byte, 4096)
		}
		s.buf = b
	}
	return s.buf
}

func closeFile(fd *int) {
	if *fd != noFile {
		_ = unix.Close(*fd)
	}
	*fd = noFile
}
