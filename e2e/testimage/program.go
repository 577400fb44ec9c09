package testimage

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
)

var programs sync.Map // package path -> func() ([]byte, error)

// builtPrograms is the environment variable that names a directory of programs
// built beforehand, for machines that have no Go: hack/guest.sh's.
const builtPrograms = "VARVE_PROGRAMS"

// Program is the static binary of a Go package of this repository. It is
// built once in a process; the Go build cache makes the next process's fast.
func Program(pkg string) ([]byte, error) {
	build, _ := programs.LoadOrStore(pkg, sync.OnceValues(func() ([]byte, error) { return compile(pkg) }))
	return build.(func() ([]byte, error))()
}

func compile(pkg string) ([]byte, error) {
	if built := os.Getenv(builtPrograms); built != "" {
		return os.ReadFile(filepath.Join(built, filepath.Base(pkg)))
	}
	dir, err := os.MkdirTemp("", "testimage-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "program")
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", out, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("build %s: %w\n%s", pkg, err, said.Bytes())
	}
	return os.ReadFile(out)
}
