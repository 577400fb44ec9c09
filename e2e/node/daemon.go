package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/e2e/criclient"
)

// PID is the daemon's process id, 0 when it does not run. The pid file alone
// says nothing: the number may be another process's by now.
func (n *Node) PID() int {
	body, err := os.ReadFile(n.pidFile())
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(body)))
	if err != nil {
		return 0
	}
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err == nil && len(line) == 0 && !isZombie(pid) {
		return pid // in the middle of execve: it has no arguments yet
	}
	program, _, _ := bytes.Cut(line, []byte{0})
	if filepath.Base(string(program)) != "varved" {
		return 0
	}
	return pid
}

func (n *Node) pidFile() string { return filepath.Join(n.Dir, "varved.pid") }

// Start starts the daemon, a program named varved, and waits until it serves.
// A daemon that runs already is left alone.
func (n *Node) Start(program string) error {
	if n.PID() == 0 {
		if err := n.launch(program); err != nil {
			return err
		}
	}
	return n.wait()
}

func (n *Node) launch(program string) error {
	log, err := os.OpenFile(n.Log(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(program)
	if n.config != "" {
		cmd.Args = append(cmd.Args, "--config", n.config)
	}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // the terminal's ^C is not for it
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", program, err)
	}
	defer cmd.Process.Release() //nolint:errcheck // it never fails
	return os.WriteFile(n.pidFile(), fmt.Appendln(nil, cmd.Process.Pid), 0o600)
}

// wait waits until the daemon serves; when it ends instead, the error quotes
// the end of its log.
func (n *Node) wait() error {
	client, err := criclient.Dial(n.Socket())
	if err != nil {
		return err
	}
	defer client.Close()
	timed, cancel := context.WithTimeout(context.Background(), Patience(time.Minute))
	defer cancel()
	ctx, ended := context.WithCancelCause(timed)
	go func() {
		for pid := n.PID(); ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
			if pid == 0 || gone(pid) {
				ended(errors.New("it ended"))
			}
		}
	}()
	if err := client.WaitReady(ctx); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return fmt.Errorf("start of varved: %w; the end of %s:\n%s", err, n.Log(), tail(n.Log(), 2000))
	}
	return nil
}

// stop ends the daemon, politely first.
func (n *Node) stop() error {
	pid := n.PID()
	if pid == 0 {
		return nil
	}
	for _, signal := range []unix.Signal{unix.SIGTERM, unix.SIGKILL} {
		if err := unix.Kill(pid, signal); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("end varved (%d): %w", pid, err)
		}
		for end := time.Now().Add(Patience(20 * time.Second)); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			if gone(pid) {
				return nil
			}
		}
	}
	return fmt.Errorf("varved (%d) does not end", pid)
}

// gone says whether a process has ended, reaped or not.
func gone(pid int) bool {
	return errors.Is(unix.Kill(pid, 0), unix.ESRCH) || isZombie(pid)
}

func isZombie(pid int) bool {
	body, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	i := bytes.LastIndex(body, []byte(") "))
	return i >= 0 && i+2 < len(body) && (body[i+2] == 'Z' || body[i+2] == 'X')
}

func tail(name string, n int) string {
	body, _ := os.ReadFile(name)
	return string(body[max(0, len(body)-n):])
}
