package server

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"
	"time"
)

// leftBehind is the directory in which fuzz workers say which places are theirs.
const leftBehind = "VARVE_TEST_FUZZ_PLACES"

// workplace is a worker's place and where it has its programs.
type workplace struct {
	place
	Program string
}

// prepareWorkers is for a process that fuzzes, and for its workers. A worker
// lives dangerously: it has ten seconds for an input, two for its end, also when
// the making smaller of an input is broken off, and whatever it says goes to
// /dev/null. So it must find what hangs before that; what
// it says when it dies is kept in a file; and what it leaves is adopted by
// the process that began it, as any node's is by the next one.
//
// What it gives is to be called when the node is gone.
func (s *stage) prepareWorkers(f *testing.F) (atEnd func()) {
	f.Helper()
	if flag.Lookup("test.fuzzworker").Value.String() != "true" {
		f.Setenv(leftBehind, f.TempDir())
		f.Cleanup(func() { clearAfterWorkers(f, os.Getenv(leftBehind)) })
		return func() {}
	}
	s.bounds.request, s.bounds.change = 5*time.Second, 3*time.Second
	said, err := os.CreateTemp("", "varve-fuzz-worker-")
	if err != nil {
		f.Fatal(err)
	}
	if err := debug.SetCrashOutput(said, debug.CrashOptions{}); err != nil {
		f.Fatal(err)
	}
	text, err := json.Marshal(workplace{place{s.cfg.StateDir, filepath.Dir(s.cfg.RootDir), s.cfg.Cgroup.Parent}, filepath.Dir(built.shim)})
	if err != nil {
		f.Fatal(err)
	}
	mine := filepath.Join(os.Getenv(leftBehind), filepath.Base(said.Name()))
	if err := os.WriteFile(mine, text, 0o600); err != nil {
		f.Fatal(err)
	}
	return func() {
		_ = said.Close()
		_ = os.Remove(said.Name())
		_ = os.Remove(mine)
	}
}

// clearAfterWorkers takes away what workers that were killed have left.
func clearAfterWorkers(f *testing.F, dir string) {
	left, _ := filepath.Glob(filepath.Join(dir, "*"))
	for _, name := range left {
		var p workplace
		text, err := os.ReadFile(name)
		if err == nil {
			err = json.Unmarshal(text, &p)
		}
		if err != nil {
			f.Error(err)
			continue
		}
		said := filepath.Join(os.TempDir(), filepath.Base(name))
		if last, err := os.ReadFile(said); err == nil && len(last) > 0 {
			f.Errorf("a worker died: %s", last)
		}
		_ = os.Remove(said)
		removeLater(f, p.Program)
		if _, err := os.Stat(p.State); err != nil {
			continue // it was only not quick enough to say that it had cleared up
		}
		_ = os.Remove(filepath.Join(p.State, "test.sock"))
		removeLater(f, p.State)
		removeLater(f, p.Disk)
		<-newNodeIn(f, p.place).adopted
	}
}
