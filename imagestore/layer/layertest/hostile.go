package layertest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/imagestore/layer"
	"github.com/varve-cri/varve/imagestore/unpack"
)

// Hostile is one case of the corpus: layers that someone made to do harm, or that
// are strange and right. Every format takes or refuses the same ones, and shows the
// same of those that it takes.
type Hostile struct {
	// Name says what the case is, with the id of the vulnerability that it is of.
	Name string
	// Layers are tar streams, lowest first. All but the last are taken.
	Layers [][]byte
	// Refused is what the error says of the last one; empty when it is taken.
	Refused string
	// Want is what the mounted stack shows, by path. Each word of a value says one
	// thing: see look.
	Want map[string]string
	// Limits of the last layer; the zero value is generous.
	Limits unpack.Limits
}

// mostHeap is what a layer may take in memory beyond what it found there: buffers,
// and the tree of a layer of some thousand names.
const mostHeap = 48 << 20

// RunHostile runs the corpus on the driver that open gives for a scratch directory.
func RunHostile(t *testing.T, open func(scratch string) (layer.Driver, error)) {
	for _, c := range Corpus(t) {
		t.Run(c.Name, func(t *testing.T) {
			top := t.TempDir()
			for _, d := range []string{"in/scratch", "in/root"} {
				if err := os.MkdirAll(filepath.Join(top, d), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			before := outside(t, top)
			d, err := open(top + "/in/scratch")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = d.Close() })
			c.run(t, d, top+"/in")
			if after := outside(t, top); after != before {
				t.Errorf("outside of the layers was\n%sand is\n%s", before, after)
			}
		})
	}
}

// victims are files whose change, or whose inode's change, is the harm.
var victims = []string{"/etc/passwd", "/etc/shadow", "/etc/hostname", "/dev/null", "/etc", "/tmp"}

// outside describes what no layer may touch: what lies beside its directory, and
// well-known files of the host.
func outside(t *testing.T, top string) string {
	t.Helper()
	var b strings.Builder
	entries, err := os.ReadDir(top)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		fmt.Fprintln(&b, e.Name())
	}
	for _, v := range victims {
		var st unix.Stat_t
		if err := unix.Stat(v, &st); err == nil && v != "/tmp" {
			fmt.Fprintln(&b, v, st.Mode, st.Uid, st.Gid, st.Nlink, st.Rdev)
		} else if err == nil {
			fmt.Fprintln(&b, v, st.Mode, st.Uid, st.Gid)
		}
	}
	return b.String()
}

// run writes the layers, joins and mounts them, and looks.
func (c *Hostile) run(t *testing.T, d layer.Driver, dir string) {
	var stack []string
	for i, archive := range c.Layers {
		last := i == len(c.Layers)-1
		at := filepath.Join(dir, "layer"+strconv.Itoa(i))
		if err := os.Mkdir(at, 0o700); err != nil {
			t.Fatal(err)
		}
		limits := generous
		if last && c.Limits != (unpack.Limits{}) {
			limits = c.Limits
		}
		var err error
		grown := heapGrowth(func() { err = hostileWriter{d, limits, stack}.write(t, at, archive) })
		if grown > mostHeap+2*int64(len(archive)) {
			t.Errorf("the heap grew by %d MiB for a layer of %d bytes", grown>>20, len(archive))
		}
		stack = append([]string{at}, stack...)
		if err == nil && last && d.Joins() && c.Refused != "" {
			err = d.Join(t.Context(), mkdir(t, dir, "joined"), stack)
		}
		switch {
		case err == nil && last && c.Refused != "":
			t.Fatalf("it was taken, and should be refused with %q", c.Refused)
		case err != nil && (!last || c.Refused == ""):
			t.Fatalf("layer %d: %v", i, err)
		case err != nil:
			c.judge(t, err)
			return
		}
	}
	c.look(t, d, dir, stack)
}

func mkdir(t *testing.T, dir, name string) string {
	t.Helper()
	if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, name)
}

type hostileWriter struct {
	layer.Driver
	limits unpack.Limits
	below  []string // topmost first
}

// write does with one layer what the store does before it has its row.
func (d hostileWriter) write(t *testing.T, at string, archive []byte) error {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := d.Write(ctx, at, bytes.NewReader(archive), d.limits)
	if err == nil && !r.Needs.None() {
		_, err = d.Inherit(ctx, at, r.Needs, d.below)
	}
	if ctx.Err() != nil {
		t.Error("it takes a minute")
	}
	return err
}

// judge looks at the error of a layer that was refused.
func (c *Hostile) judge(t *testing.T, err error) {
	t.Helper()
	said := err.Error()
	if !strings.Contains(said, c.Refused) || strings.Contains(said, "failed to") || len(said) > 2000 {
		t.Errorf("refused with %.500q, want %q", said, c.Refused)
	}
}

// look mounts the stack and compares what it shows.
func (c *Hostile) look(t *testing.T, d layer.Driver, dir string, stack []string) {
	s := layer.Stack{Layers: stack, Root: dir + "/root"}
	if d.Joins() {
		s.Joined = mkdir(t, dir, "joined")
		if err := d.Join(t.Context(), s.Joined, stack); err != nil {
			t.Fatal(err)
		}
	}
	f, err := d.Mount(s)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for path, want := range c.Want {
		for _, wrong := range look(int(f.Fd()), path, want) {
			t.Errorf("%.100q: %s", path, wrong)
		}
	}
}

// heapGrowth runs fn and gives how far the heap went beyond where it was.
func heapGrowth(fn func()) int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	before, most := int64(m.HeapInuse), int64(0)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			runtime.ReadMemStats(&m)
			most = max(most, int64(m.HeapInuse))
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	fn()
	close(stop)
	<-stopped
	return most - before
}
