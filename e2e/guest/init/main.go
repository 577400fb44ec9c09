package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// report is where the host listens; the kernel's own messages go elsewhere.
var report = os.Stderr

func main() {
	if os.Getpid() == 1 {
		reap()
	}
	code := 1
	if err := run(); err != nil {
		say("init: %v", err)
	} else {
		code = 0
	}
	say("GUEST END %d", code)
	unix.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	select {}
}

// reap does the work of a first process: it waits for whatever is orphaned.
// Everything else is done by a child, whose own children it does not see.
func reap() {
	child, err := os.StartProcess(os.Args[0], []string{"guest"}, &os.ProcAttr{
		Env: []string{
			"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "VARVE_BIN=/varve/bin", "VARVE_PROGRAMS=/varve/bin", "VARVE_E2E_PATIENCE=2", "VARVE_KUBELET=/varve/bin/kubelet",
		}, Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
	})
	for err == nil {
		_, err = unix.Wait4(-1, nil, 0, nil)
		if err == unix.EINTR {
			err = nil
		}
	}
	panic(fmt.Sprint(child, err)) // PID 1 ends: the kernel panics, and so does the host's side
}

func say(format string, args ...any) { fmt.Fprintf(report, format+"\n", args...) }

// run sets the machine up and works the jobs off. A job that fails is told in
// the report and is no error of run's.
func run() error {
	limit := unix.Rlimit{Cur: 1024, Max: 1 << 20} // as systemd does for services
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("open files: %w", err)
	}
	if err := mountAll(kernelMounts); err != nil {
		return err
	}
	if err := openReport(); err != nil {
		return err
	}
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"mounts", func() error { return mountAll(nodeMounts) }},
		{"host name", func() error { return unix.Sethostname([]byte("guest")) }},
		{"cgroups", delegate},
		{"swap", swap},
		{"loopback", func() error { return command("ip", "link", "set", "lo", "up") }},
	} {
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	features()
	tell()
	return jobs("/varve/jobs")
}

// openReport opens the line that the kernel's argument varve.report names.
// The machine's console is left to the kernel.
func openReport() error {
	words, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return err
	}
	for word := range strings.FieldsSeq(string(words)) {
		if name, ok := strings.CutPrefix(word, "varve.report="); ok {
			line, err := os.OpenFile("/dev/"+name, os.O_WRONLY|unix.O_NOCTTY, 0)
			if err != nil {
				return err
			}
			report = line
			return raw(line)
		}
	}
	return errors.New("the kernel's command line lacks varve.report")
}

// raw keeps the line from turning each newline into two characters.
func raw(line *os.File) error {
	t, err := unix.IoctlGetTermios(int(line.Fd()), unix.TCGETS)
	if err != nil {
		return fmt.Errorf("%s: %w", line.Name(), err)
	}
	t.Oflag &^= unix.OPOST
	return unix.IoctlSetTermios(int(line.Fd()), unix.TCSETS, t)
}
