package program

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func childless(t *testing.T) {
	t.Helper()
	if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); err != unix.ECHILD {
		t.Errorf("a child is left: %d, %v", pid, err)
	}
}

// The process is in its namespaces, has nothing of ours but one end of a pipe, and
// nobody waits for it: neither the collector nor others that are held.
func TestHold(t *testing.T) {
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			h, err := Hold(unix.CLONE_NEWUSER | unix.CLONE_NEWUTS)
			if err != nil {
				t.Error(err)
				return
			}
			defer h.Release()
			runtime.GC()
			dir := fmt.Sprintf("/proc/%d/", h.PID())
			ours, _ := os.Readlink("/proc/self/ns/user")
			if its, err := os.Readlink(dir + "ns/user"); err != nil || its == ours {
				t.Errorf("user namespace %s, ours is %s, %v", its, ours, err)
			}
			status, err := os.ReadFile(dir + "status")
			if err != nil || !strings.Contains(string(status), fmt.Sprintf("\nPPid:\t%d\n", os.Getpid())) {
				t.Errorf("not our child: %v", err)
			}
		})
	}
	all.Wait()
	h, err := Hold(unix.CLONE_NEWUSER)
	if err != nil {
		t.Fatal(err)
	}
	dir := fmt.Sprintf("/proc/%d/", h.PID())
	// It closes what it has not asked for right after it has begun.
	for {
		entries, err := os.ReadDir(dir + "fd")
		if err != nil {
			t.Fatal(err)
		}
		if len(entries) == 1 {
			break
		}
		runtime.Gosched()
	}
	if v, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); v != 0 || err != nil {
		t.Errorf("who is as weak as the process may trace it: %d, %v", v, err)
	}
	h.Release()
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
	childless(t)
}

func TestHoldFails(t *testing.T) {
	_, err := Hold(1) // no flag of clone3's: it is part of CSIGNAL
	var f *Failure
	if !errors.As(err, &f) || f.Step != "clone" || f.Errno != unix.EINVAL {
		t.Errorf("error %v", err)
	}
	childless(t)
}

func BenchmarkHold(b *testing.B) {
	ballast := make([]byte, 64<<20) // as a daemon has
	for b.Loop() {
		h, err := Hold(unix.CLONE_NEWUSER)
		if err != nil {
			b.Fatal(err)
		}
		h.Release()
		for i := 0; i < len(ballast); i += 4096 {
			ballast[i]++
		}
	}
}

// A held process ends with its maker, however that ends.
func TestHoldEndsWithItsMaker(t *testing.T) {
	if os.Getenv("HOLD") != "" {
		h, err := Hold(unix.CLONE_NEWUSER)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Println(h.PID())
		select {}
	}
	cmd := exec.Command(os.Args[0], "-test.run=TestHoldEndsWithItsMaker$")
	cmd.Env = append(os.Environ(), "HOLD=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Fscan(out, &pid); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for { // the Go runtime's own signals interrupt it
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 60_000)
		if err == unix.EINTR {
			continue
		}
		if n != 1 || err != nil {
			t.Errorf("process %d is still there: %v", pid, err)
		}
		break
	}
	_ = cmd.Wait() // it was killed
}
