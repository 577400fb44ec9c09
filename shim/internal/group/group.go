package group

import (
	"bytes"
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// passes bounds the killing of a v1 group whose processes fork meanwhile.
const passes = 50

// Tasks opens the file of a v1 group through which a child of clone moves
// itself there; see package container for why it is this one.
func Tasks(dir string) (int, error) { return unix.Open(dir+"/tasks", unix.O_WRONLY|unix.O_CLOEXEC, 0) }

// Kill kills every process of the group and of the groups below. A group that
// is gone is no error. cgroup.kill (v2 only, Linux 5.14) takes all at once;
// elsewhere the processes are killed until none that lives is left.
func Kill(dir string) error {
	err := write(dir+"/cgroup.kill", "1")
	if err == nil {
		return nil
	}
	if !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EOPNOTSUPP) {
		return gone(err)
	}
	for range passes {
		n, err := Signal(dir, unix.SIGKILL)
		if err != nil || n == 0 {
			return err
		}
	}
	return nil
}

// Signal sends sig to every process of the group and of the groups below, and
// says how many got it. Zombies do not count.
func Signal(dir string, sig unix.Signal) (int, error) {
	pids, err := Pids(dir)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, pid := range pids {
		if pid > 1 && unix.Kill(pid, sig) == nil && alive(pid) {
			n++
		}
	}
	return n, nil
}

// Pids lists the processes of the group and of the groups below.
func Pids(dir string) ([]int, error) {
	text, err := read(dir + "/cgroup.procs")
	if err != nil {
		return nil, gone(err)
	}
	var pids []int
	for _, line := range bytes.Fields(text) {
		if pid, err := strconv.Atoi(string(line)); err == nil {
			pids = append(pids, pid)
		}
	}
	names, err := below(dir)
	if err != nil {
		return pids, gone(err)
	}
	for _, name := range names {
		more, err := Pids(dir + "/" + name)
		if err != nil {
			return pids, err
		}
		pids = append(pids, more...)
	}
	return pids, nil
}

// gone makes nothing of the errors that say that the group does not exist.
func gone(err error) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}

// alive tells a process from a zombie, which v1 lists until it is reaped.
func alive(pid int) bool {
	text, err := read("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	i := bytes.LastIndexByte(text, ')')
	return i < 0 || i+2 >= len(text) || (text[i+2] != 'Z' && text[i+2] != 'X')
}

func below(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	entries, err := d.ReadDir(-1)
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, err
}

func write(path, text string) error {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	_, err = unix.Write(fd, []byte(text))
	return err
}

func read(path string) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	var text []byte
	buf := make([]byte, 4096)
	for {
		n, err := unix.Read(fd, buf)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return nil, err
		case n == 0:
			return text, nil
		default:
			text = append(text, buf[:n]...)
		}
	}
}
