package container

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/runtime/plan"
)

// spy is a container's process that may trace. For each line of input it
// looks into all other processes but the first: "once", or "on" and on until the next line. It
// prints how many it saw and what it got at that no process of a container may
// have: a root that is not its own, descriptors of what is in no container,
// rights that are not its own.
func spy() int {
	lines := make(chan string)
	go func() {
		defer close(lines)
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			lines <- in.Text()
		}
	}()
	for line := range lines {
		found := map[string]bool{}
		// One that runs has descriptors that it has opened itself, and may be traced.
		seen := lookAround(found, line == "once")
		for on := line == "on"; on; {
			select {
			case <-lines:
				on = false
			default:
				seen += lookAround(found, false)
			}
		}
		for what := range found {
			fmt.Println("found", what)
		}
		fmt.Println("seen", seen)
	}
	return 0
}

func lookAround(found map[string]bool, files bool) (seen int) {
	var own unix.Stat_t
	list, err := os.ReadDir("/proc")
	if err == nil {
		err = unix.Stat("/", &own)
	}
	if err != nil {
		found[err.Error()] = true
	}
	for _, e := range list {
		if name := e.Name(); name[0] >= '1' && name[0] <= '9' && name != "1" && name != itoa(os.Getpid()) {
			seen++
			lookInto(name, &own, found, files)
		}
	}
	return seen
}

func lookInto(pid string, own *unix.Stat_t, found map[string]bool, files bool) {
	dir := "/proc/" + pid
	var st unix.Stat_t
	for _, link := range []string{"/root/", "/cwd/"} {
		if unix.Stat(dir+link, &st) == nil && (st.Dev != own.Dev || st.Ino != own.Ino) {
			found["another "+link] = true
		}
	}
	for n := 0; files && n < 40; n++ {
		name := dir + "/fd/" + itoa(n)
		to, err := os.Readlink(name)
		if err != nil || strings.HasPrefix(to, "pipe:") || to == "/null" {
			continue
		}
		if unix.Stat(name, &st) != nil || st.Dev != own.Dev || st.Ino != own.Ino {
			found["descriptor of "+to] = true
		}
	}
	if mem, err := os.OpenFile(dir+"/mem", os.O_RDWR, 0); files && err == nil {
		mem.Close()
		found["memory"] = true
	}
	if st := status(pid); st["CapPrm"] != "" && st["CapPrm"] != status("self")["CapPrm"] && !confined(st) {
		found["rights "+st["CapPrm"]] = true
	}
}

// confined tells the process that opens procfs from inside: CAP_SYS_ADMIN is all that
// it has, and a filter leaves it no call to use it for.
func confined(status map[string]string) bool {
	return status["CapPrm"] == "0000000000200000" && status["Seccomp"] == "2"
}

// spying is a container whose process is the spy.
type spying struct {
	t     *testing.T
	plan  *plan.Plan
	init  *Started
	in    *os.File
	lines *bufio.Scanner
}

func startSpy(t *testing.T, p *plan.Plan, root *os.File) *spying {
	t.Helper()
	p = mayTrace(p)
	p.Process.Args = []string{"/bin/probe", "spy"}
	in, feed, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, say, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	init := launch(t, p, root, Stdio{In: in, Out: say})
	in.Close()
	say.Close()
	t.Cleanup(func() {
		feed.Close()
		equal(t, "the spy's exit", wait(t, init), 0)
		out.Close()
	})
	return &spying{t: t, plan: p, init: init, in: feed, lines: bufio.NewScanner(out)}
}

// mayTrace gives a plan's process CAP_SYS_PTRACE.
func mayTrace(p *plan.Plan) *plan.Plan {
	c := &p.Process.Caps
	for _, set := range []*uint64{&c.Bounding, &c.Effective, &c.Permitted} {
		*set |= 1 << unix.CAP_SYS_PTRACE
	}
	return p
}

func (s *spying) tell(line string) {
	s.t.Helper()
	if _, err := fmt.Fprintln(s.in, line); err != nil {
		s.t.Fatal(err)
	}
}

// saw takes the answer.
func (s *spying) saw() string {
	s.t.Helper()
	for s.lines.Scan() {
		if !strings.HasPrefix(s.lines.Text(), "found") {
			return s.lines.Text()
		}
		s.t.Error(s.lines.Text())
	}
	return "nothing"
}

// look has the spy look while something is done again and again, until it has seen
// more than nothing.
func (s *spying) look(nothing string, do func()) {
	s.t.Helper()
	until(s.t, "the spy sees somebody", func() bool {
		s.tell("on")
		for range 100 {
			do()
		}
		s.tell("enough")
		got := s.saw()
		if !strings.HasPrefix(got, "seen ") {
			s.t.Fatal("the spy says", got)
		}
		return got != nothing
	})
}

func (s *spying) exec(opt ExecOptions) (*Started, error) {
	q := newProcess("/bin/probe", "exit", "0")
	q.Caps = s.plan.Process.Caps
	return Exec(s.init.PIDFD, s.init.PID, &q, opt)
}

// A process on its way into a container is not seen there while it has
// anything of the host's (CVE-2016-9962). It is made to stand still by a frozen
// cgroup, which is the first thing that it enters.
func TestTracingContainerDoesNotSeeWhoJoins(t *testing.T) {
	s := startSpy(t, newPlan(), newRoot(t, nil))
	s.doesNotSee(func(group string) (*Started, error) { return s.exec(ExecOptions{CgroupV2: group}) })
}

// doesNotSee has the spy look while a process that join makes stands still at its
// beginning.
func (s *spying) doesNotSee(join func(group string) (*Started, error)) {
	t := s.t
	t.Helper()
	_, group := testCgroup(t)
	write(t, group+"/cgroup.freeze", []byte("1"), 0)
	type result struct {
		st  *Started
		err error
	}
	done := make(chan result)
	go func() {
		st, err := join(group)
		done <- result{st, err}
	}()
	until(t, "a process is in the group", func() bool {
		b, err := os.ReadFile(group + "/cgroup.procs")
		return err == nil && len(b) > 0
	})
	s.tell("once")
	equal(t, "the spy's view", s.saw(), "seen 0")
	write(t, group+"/cgroup.freeze", []byte("0"), 0)
	r := <-done
	if r.err != nil {
		t.Fatal(r.err)
	}
	equal(t, "exit", wait(t, r.st), 0)
}

// Whatever is seen of a process that joins, by looking all the time, is the
// container's own: file tree, directory, rights. (Its descriptors are those that
// it opens itself as well.)
func TestTracingContainerSeesNothingOfTheHost(t *testing.T) {
	s := startSpy(t, newPlan(), newRoot(t, nil))
	// On a machine that does not run the spy meanwhile it has seen nothing yet.
	s.look("seen 0", func() {
		st, err := s.exec(ExecOptions{})
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "exit", wait(t, st), 0)
	})
}
