package container

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// report is what a payload saw.
type report struct {
	PID, UID, GID int
	Groups        []int
	Args, Env     []string
	Cwd           string
	Hostname      string
	Namespaces    map[string]string
	Status        map[string]string // of /proc/self/status
	Mounts        map[string]string // mount point -> the fields after it
	FDs           map[string]string
	OOMScoreAdj   string
	Umask         int
	SID           int
	Nofile        unix.Rlimit
	Ignored       string
	Files         map[string]string // result of the actions asked for
}

// probe is the payload. Without arguments it reports; "sleep" waits to be
// killed; "exit N" exits; "stdin" echoes; "do ACTION..." reports too, after
// trying things: read:PATH, write:PATH, ls:PATH, stat:PATH, mkdir:PATH.
func probe(args []string) int {
	if len(args) == 0 {
		args = []string{"do"}
	}
	switch args[0] {
	case "sleep":
		time.Sleep(time.Minute)
	case "exit":
		var code int
		fmt.Sscan(args[1], &code)
		return code
	case "spy":
		return spy()
	case "orphan":
		return orphan()
	case "tty":
		fmt.Println("terminal:", isTerminal(0), isTerminal(1), isTerminal(2))
	case "do":
		r := look()
		for _, a := range args[1:] {
			r.Files[a] = act(a)
		}
		if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
			return 1
		}
	}
	return 0
}

func isTerminal(fd int) bool {
	_, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	return err == nil
}

// orphan leaves a child behind that ends at once.
func orphan() int {
	attr := os.ProcAttr{Files: []*os.File{nil, nil, nil}}
	if _, err := os.StartProcess("/bin/probe", []string{"probe", "exit", "0"}, &attr); err != nil {
		return 1
	}
	return 0
}

func act(a string) string {
	verb, path, _ := strings.Cut(a, ":")
	switch verb {
	case "read":
		b, err := os.ReadFile(path)
		return result(string(b), err)
	case "write":
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
		if err == nil {
			f.Close()
		}
		return result("ok", err)
	case "ls":
		list, err := os.ReadDir(path)
		var names []string
		for _, e := range list {
			names = append(names, e.Name())
		}
		return result(strings.Join(names, " "), err)
	case "mkdir":
		return result("ok", os.Mkdir(path, 0o755))
	case "umount":
		return result("ok", unix.Unmount(path, unix.MNT_DETACH))
	case "chown":
		return result("ok", os.Chown(path, 5, 6))
	case "append":
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
		if err == nil {
			f.Close()
		}
		return result("ok", err)
	case "link":
		s, err := os.Readlink(path)
		return result(s, err)
	case "stat":
		var st unix.Stat_t
		err := unix.Lstat(path, &st)
		return result(fmt.Sprintf("%o %d:%d %d:%d", st.Mode, unix.Major(uint64(st.Rdev)), unix.Minor(uint64(st.Rdev)), st.Uid, st.Gid), err)
	}
	return "unknown action"
}

func result(s string, err error) string {
	var errno unix.Errno
	if errors.As(err, &errno) {
		return unix.ErrnoName(errno)
	}
	if err != nil {
		return err.Error()
	}
	return s
}

func look() *report {
	r := &report{
		PID: os.Getpid(), UID: os.Getuid(), GID: os.Getgid(), Args: os.Args, Env: os.Environ(),
		Namespaces: map[string]string{}, Mounts: map[string]string{}, FDs: map[string]string{}, Files: map[string]string{},
	}
	r.Groups, _ = os.Getgroups()
	r.Cwd, _ = os.Getwd()
	r.Hostname, _ = os.Hostname()
	r.Status = status("self")
	r.Umask = unix.Umask(0)
	r.SID, _ = unix.Getsid(0)
	_ = unix.Prlimit(0, unix.RLIMIT_NOFILE, nil, &r.Nofile)
	b, _ := os.ReadFile("/proc/self/oom_score_adj")
	r.OOMScoreAdj = strings.TrimSpace(string(b))
	for _, ns := range []string{"mnt", "pid", "ipc", "uts", "net", "cgroup"} {
		r.Namespaces[ns], _ = os.Readlink("/proc/self/ns/" + ns)
	}
	b, _ = os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		r.Mounts[f[4]] = strings.Join(f[5:], " ")
	}
	r.FDs = openFiles()
	return r
}

// openFiles lists the descriptors that are there when the program begins,
// but for those that Go's runtime opens for itself.
func openFiles() map[string]string {
	fds := map[string]string{}
	links, _ := filepath.Glob("/proc/self/fd/*")
	for _, l := range links {
		to, err := os.Readlink(l)
		if err == nil && !strings.HasPrefix(to, "anon_inode:[event") {
			fds[filepath.Base(l)] = to
		}
	}
	return fds
}

func status(pid string) map[string]string {
	out := map[string]string{}
	b, _ := os.ReadFile("/proc/" + pid + "/status")
	for line := range strings.Lines(string(b)) {
		key, value, _ := strings.Cut(line, ":")
		out[key] = strings.TrimSpace(value)
	}
	return out
}
