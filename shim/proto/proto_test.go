package proto

import (
	"errors"
	"io"
	"os"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/runtime/container"
)

func bodies() []Body {
	return []Body{
		&Hello{Version: 1, PID: 77},
		&Start{ID: "abc", LogPath: "/l", OOMEvents: "/o", MaxLine: 9, Stdin: true, StdinOnce: true, NoRoot: true},
		&Started{PID: 4, StartedAt: -5},
		&State{ID: "x", ShimPID: 1, PID: 2, StartedAt: 1 << 60, Exited: true, Execs: 3, LogErrors: 1 << 63, LogLost: 5},
		&Signal{Exec: "e", Number: 9, All: true},
		&Resize{Rows: 65535, Cols: 1},
		&Attach{In: true, Err: true},
		&Attached{ID: 8},
		&Detach{ID: 8},
		&Exec{ID: []byte("e"), Out: true, Process: []byte{1, 2, 3}},
		&ExecStarted{PID: 5},
		&Kill{Exec: "e"},
		&Exited{Exit: Exit{Code: -1, Signal: 9, At: 123456789, OOM: true}},
		&ExecExited{ID: []byte("e"), Code: 137, Signal: 9},
		&Detached{ID: 1, Reason: "slow"},
		&Failure{Code: CodeStep, Step: "mount", Object: "/proc", Errno: 1, Detail: "d"},
	}
}

func fresh(b Body) Body { return reflect.New(reflect.TypeOf(b).Elem()).Interface().(Body) }

func TestRoundTrip(t *testing.T) {
	for _, want := range bodies() {
		h := Head{Kind: Reply, Verb: VerbState, Files: 2, ID: 0xdeadbeef}
		msg := Append(nil, h, want)
		gotHead, body, err := Parse(msg)
		if err != nil || gotHead != h {
			t.Fatalf("%T: head %+v, %v", want, gotHead, err)
		}
		got := fresh(want)
		if err := Decode(body, got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%T: %+v, %v; want %+v", want, got, err, want)
		}
		// An older peer's body is shorter, a newer one's longer.
		if err := Decode(append(body[:len(body):len(body)], 1, 2, 3), fresh(want)); err != nil {
			t.Errorf("%T: longer: %v", want, err)
		}
		if err := Decode(nil, fresh(want)); err != nil {
			t.Errorf("%T: empty: %v", want, err)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	for name, body := range map[string][]byte{
		"text beyond the end": {10, 'a'},
		"text too long":       append([]byte{0xff, 0x7f}, make([]byte, 20000)...),
		"endless number":      {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80},
	} {
		if err := Decode(body, &Kill{}); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := Decode([]byte{2}, &Attach{}); !errors.Is(err, ErrFormat) {
		t.Error("flag 2:", err)
	}
	if err := Decode([]byte{0xff, 0xff, 0xff, 0xff, 0x7f}, &Resize{}); !errors.Is(err, ErrFormat) {
		t.Error("wide number:", err)
	}
}

func TestFailure(t *testing.T) {
	step := &container.StepError{Step: "mount", Object: "/x", Errno: unix.EPERM, Detail: "why"}
	if got := Fail("other", "", step).StepError(); *got != *step {
		t.Errorf("%+v", got)
	}
	if got := Fail("open log", "/l", &os.PathError{Op: "open", Path: "/l", Err: unix.ENOENT}); got.Error() != "open log /l: no such file or directory" {
		t.Error(got)
	}
	if got := Fail("read", "plan", errors.New("odd")); got.Error() != "read plan: odd" {
		t.Error(got)
	}
	f := Refuse(CodeState, "no")
	if Fail("", "", f) != f {
		t.Error("a failure is not itself")
	}
	long := Failure{Code: CodeStep, Detail: strings.Repeat("x", 1<<20), Object: strings.Repeat("y", 1<<20)}
	if n := len(Append(nil, Head{}, &long)); n > MaxReply {
		t.Errorf("a failure of %d bytes", n)
	}
}

func TestRecord(t *testing.T) {
	for _, want := range []Exit{{}, {Code: 137, Signal: 9, At: 1700000000123456789, OOM: true}, {Code: -1, At: -1}} {
		got, err := ParseRecord(want.Record())
		if err != nil || got != want {
			t.Errorf("%+v, %v, want %+v", got, err, want)
		}
	}
	for _, bad := range []string{"", "\n", "varve-exit-1", "varve-exit-2 code=0 signal=0 at=0 oom=0\n", "varve-exit-1 code=0 signal=0 at=0 oom=2\n",
		"varve-exit-1 code=99999999999 signal=0 at=0 oom=0\n", "varve-exit-1 code=0 signal=0 at=0 oom=0", "varve-exit-1 code=0 at=0 signal=0 oom=0\n"} {
		if e, err := ParseRecord([]byte(bad)); !errors.Is(err, ErrRecord) {
			t.Errorf("%q: %+v, %v", bad, e, err)
		}
	}
}

func pair(t *testing.T) [2]int {
	t.Helper()
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { CloseAll(p[:]) })
	return p
}

func TestSocket(t *testing.T) {
	p := pair(t)
	buf := make([]byte, 64)
	if _, _, err := Receive(p[1], buf); err != unix.EAGAIN {
		t.Error("empty:", err)
	}
	if err := Send(p[0], []byte("hello"), 0, 1); err != nil {
		t.Fatal(err)
	}
	n, files, err := Receive(p[1], buf)
	if err != nil || string(buf[:n]) != "hello" || len(files) != 2 {
		t.Fatalf("%q, %v, %v", buf[:n], files, err)
	}
	for _, fd := range files {
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("file %d: flags %x, %v", fd, flags, err)
		}
	}
	CloseAll(files)
}

func TestSocketBounds(t *testing.T) {
	p := pair(t)
	count := func() int {
		entries, _ := os.ReadDir("/proc/self/fd")
		return len(entries)
	}
	before := count()
	buf := make([]byte, 4)
	if err := Send(p[0], []byte("too long"), 0); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Receive(p[1], buf); !errors.Is(err, ErrFormat) {
		t.Error("long message:", err)
	}
	if err := Send(p[0], []byte("many"), make([]int, MaxFiles+8)...); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Receive(p[1], buf); !errors.Is(err, ErrFormat) {
		t.Error("many files:", err)
	}
	if n := count(); n != before {
		t.Errorf("%d descriptors, %d before", n, before)
	}
	var err error
	for i := 0; i < 100000 && err == nil; i++ {
		err = Send(p[0], make([]byte, 1024))
	}
	if err != unix.EAGAIN {
		t.Error("a peer that does not read:", err)
	}
	q := pair(t)
	_ = unix.Close(q[0])
	if _, _, err := Receive(q[1], buf); err != io.EOF {
		t.Error("closed peer:", err)
	}
	if err := Send(q[1], buf); err != unix.EPIPE {
		t.Error("send to a closed peer:", err)
	}
}

func FuzzDecode(f *testing.F) {
	for i, b := range bodies() {
		f.Add(Append(nil, Head{Kind: Request, Verb: Verb(i)}, b))
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		_, body, err := Parse(msg)
		if err != nil {
			return
		}
		for _, b := range bodies() {
			first := fresh(b)
			if Decode(body, first) != nil {
				continue
			}
			// What was read is written and read back to the same.
			_, again, err := Parse(Append(nil, Head{Kind: Reply}, first))
			second := fresh(b)
			if err == nil {
				err = Decode(again, second)
			}
			if err != nil || !same(first, second) {
				t.Fatalf("%T: %+v, %v; was %+v", b, second, err, first)
			}
		}
	})
}

// same does not tell no bytes from none.
func same(a, b Body) bool {
	if x, ok := a.(*Exec); ok && len(x.Process) == 0 {
		x.Process = b.(*Exec).Process
	}
	return reflect.DeepEqual(a, b)
}

func FuzzParseRecord(f *testing.F) {
	f.Add((&Exit{Code: 1, At: 5}).Record())
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := ParseRecord(b)
		if err != nil {
			return
		}
		if again, err := ParseRecord(e.Record()); err != nil || again != e {
			t.Fatalf("%+v, %v, was %+v", again, err, e)
		}
	})
}
