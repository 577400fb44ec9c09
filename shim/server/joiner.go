package server

import (
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/runtime/container"
	"github.com/varve-cri/varve/runtime/plan"
	"github.com/varve-cri/varve/shim/proto"
)

// joiner is a thread that brings execs into the container, one after the
// other: the way may lead to a file server that is dead, or into a cgroup that
// is frozen, and the loop has a log to write meanwhile. One joiner is kept, so
// that execs which recur leave no garbage.
type joiner struct {
	s    *server
	work chan *exec // closed when the joiner is not wanted any more

	// One exec's; the loop's until the exec is in work, and again when it comes
	// back by the mailbox.
	head    proto.Head // of the request
	files   [proto.MaxFiles]int
	n       int // of files
	ask     container.Joining
	decoder plan.Decoder
	tasks   []int // place.tasks with that of the exec's own group
	own     int   // a descriptor of that group

	joined container.Joined
	err    error
}

// joiner returns one that is free.
func (s *server) joiner() *joiner {
	j := s.free
	s.free = nil
	if j == nil {
		j = &joiner{s: s, work: make(chan *exec, 1)}
		go j.run()
	}
	j.ask, j.n, j.own, j.joined, j.err = container.Joining{}, 0, noFile, container.Joined{}, nil
	return j
}

// release keeps the joiner or ends it.
func (j *joiner) release() {
	j.ask = container.Joining{}
	for _, fd := range j.files[:j.n] {
		_ = unix.Close(fd)
	}
	j.n = 0
	closeFile(&j.own)
	if j.s.free == nil {
		j.s.free = j
		return
	}
	close(j.work)
}

// run is the thread: never unlocked, because its children begin in the
// container's PID namespace from its first exec on. It is not the main one,
// which is the loop's.
func (j *joiner) run() {
	runtime.LockOSThread()
	for e := range j.work {
		j.joined, j.err = container.Join(&j.ask)
		j.s.later.post(e)
	}
}

// take takes the request's files.
func (j *joiner) take(r *request) {
	j.head = r.Head
	j.n = copy(j.files[:], r.files)
	r.files = nil
}

// decode takes the files and the process apart.
func (j *joiner) decode(m *proto.Exec) error {
	rest := j.files[:j.n]
	j.ask.Stdio = [3]int{noFile, noFile, noFile}
	for i, has := range [3]bool{m.In, m.Out, m.Err} {
		switch {
		case !has:
		case len(rest) == 0:
			return errFiles
		default:
			// Programs expect a stream that blocks, and Go's pipes do not.
			_ = unix.SetNonblock(rest[0], false)
			j.ask.Stdio[i], rest = rest[0], rest[1:]
		}
	}
	b, inFile := m.Process, len(m.Process) == 0
	if inFile != (len(rest) == 1) || len(rest) > 1 {
		return errFiles
	}
	if inFile {
		var err error
		if b, err = readMemfd(rest[0]); err != nil {
			return step("read process", string(m.ID), err)
		}
	}
	var err error
	if j.ask.Process, err = j.decoder.Process(b); err != nil {
		return proto.Refuse(proto.CodeInvalid, "process: "+err.Error())
	}
	return nil
}

var errFiles = proto.Refuse(proto.CodeInvalid, "wrong number of files")
