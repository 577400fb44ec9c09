package shim

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/varve-cri/varve/shim/proto"
)

// Exit is how a container ended.
type Exit struct {
	Code   int32 // the exit code; 128 + Signal when a signal killed it
	Signal int32
	At     time.Time
	OOM    bool // the kernel killed a process of the container for memory, and nobody else had killed it before
}

func exitOf(e proto.Exit) Exit {
	return Exit{Code: e.Code, Signal: e.Signal, At: time.Unix(0, e.At), OOM: e.OOM}
}

// ReadExit reads the exit record in a container's directory. The error is
// ErrNoRecord when there is none.
func ReadExit(dir string) (Exit, error) {
	f, err := os.Open(filepath.Join(dir, proto.ExitFile))
	if errors.Is(err, os.ErrNotExist) {
		return Exit{}, fmt.Errorf("%s: %w", dir, ErrNoRecord)
	}
	if err != nil {
		return Exit{}, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, proto.MaxRecord+1))
	if err != nil {
		return Exit{}, err
	}
	e, err := proto.ParseRecord(text)
	if err != nil {
		return Exit{}, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return exitOf(e), nil
}
