package container

import (
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/runtime/inroot"
	"github.com/varve-cri/varve/runtime/plan"
	"github.com/varve-cri/varve/runtime/program"
)

// defaultPath is searched when the process's environment has no PATH.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// find returns the path to execute for p's first argument: itself when it
// holds a slash, else the first executable file on the process's own PATH, in
// its own root.
func find(root int, p *plan.Process) (string, error) {
	if len(p.Args) == 0 || p.Args[0] == "" {
		return "", &StepError{Step: StepFind, Object: `""`, Errno: unix.ENOENT, Detail: "no command"}
	}
	name := p.Args[0]
	if strings.Contains(name, "/") {
		return name, nil
	}
	var refused error
	for dir := range strings.SplitSeq(searchPath(p.Env), ":") {
		if !path.IsAbs(dir) {
			dir = path.Join("/", p.Cwd, dir)
		}
		// Put together twice: what is not returned need not be kept.
		switch err := executable(root, dir+"/"+name); err {
		case nil:
			return dir + "/" + name, nil
		case unix.ENOENT, unix.ENOTDIR:
		default:
			refused = err
		}
	}
	e := &StepError{Step: StepFind, Object: name, Errno: unix.ENOENT, Detail: "not in PATH"}
	if refused != nil {
		e.Errno, e.Detail = unix.EACCES, "in PATH but not executable"
	}
	return "", e
}

// searchPath returns the value of the last PATH, as execvp sees it.
func searchPath(env []string) string {
	for i := len(env) - 1; i >= 0; i-- {
		if v, ok := strings.CutPrefix(env[i], "PATH="); ok {
			return v
		}
	}
	return defaultPath
}

// executable returns nil for a regular file that somebody may execute.
func executable(root int, file string) error {
	fd, err := inroot.FD(root, file, unix.O_PATH)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return unix.EISDIR
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Mode&0o111 == 0 {
		return unix.EACCES
	}
	return nil
}

// explain adds to a failed execve what its errno does not say.
func explain(root int, cmd program.Command, e *StepError) error {
	if e.Step != StepExecute || cmd.Path == "" {
		return e
	}
	file := cmd.Path
	if !path.IsAbs(file) {
		file = path.Join("/", cmd.Process.Cwd, file)
	}
	found := executable(root, file)
	switch {
	case e.Errno == unix.ENOENT && found == nil:
		e.Detail = "the file exists, but not the interpreter it names"
	case found == unix.EISDIR:
		e.Detail = "is a directory"
	case e.Errno == unix.ENOEXEC:
		e.Detail = "neither a program of this machine nor a script with #!"
	}
	return e
}

func itoa(n int) string { return strconv.Itoa(n) }
