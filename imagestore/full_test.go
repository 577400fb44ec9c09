package imagestore

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/e2e/disk"
	"github.com/varve-cri/varve/imagestore/layer/layertest"
)

// volume is a small file system on which exactly so many allocations succeed.
type volume struct {
	root *os.File
	// leave makes all but n units of room unusable; negative gives all room back.
	leave func(n int) error
}

func (v volume) path(name string) string {
	return fmt.Sprintf("/proc/self/fd/%d/%s", v.root.Fd(), name)
}

// volumes are the ways in which a disk is full: no blocks, no inodes, and a real
// file system with its own need of blocks for directories and attributes.
var volumes = map[string]func(*testing.T) volume{
	"tmpfs blocks": func(t *testing.T) volume {
		return memory(t, func(root *os.File, n int) error {
			var st unix.Statfs_t
			if err := unix.Fstatfs(int(root.Fd()), &st); err != nil {
				return err
			}
			used := int(st.Blocks - st.Bfree)
			if n < 0 {
				used, n = 0, 16384
			}
			return limit(root, "nr_blocks", used+n)
		})
	},
	"tmpfs inodes": func(t *testing.T) volume {
		return memory(t, func(root *os.File, n int) error {
			var st unix.Statfs_t
			if err := unix.Fstatfs(int(root.Fd()), &st); err != nil {
				return err
			}
			used := int(st.Files - st.Ffree)
			if n < 0 {
				used, n = 0, 100_000
			}
			return limit(root, "nr_inodes", used+n)
		})
	},
	"ext4": func(t *testing.T) volume {
		base, err := disk.Format(24 << 20)
		if err != nil {
			t.Fatal(err)
		}
		d, err := disk.Plain(base)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		})
		root, err := d.Mount("")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { root.Close() })
		v := volume{root: root}
		v.leave = func(n int) error { return leaveBlocks(v.path("filler"), n) }
		return v
	},
}

func memory(t *testing.T, leave func(*os.File, int) error) volume {
	t.Helper()
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	v := volume{root: os.NewFile(uintptr(fd), "tmpfs")}
	t.Cleanup(func() { v.root.Close() })
	v.leave = func(n int) error { return leave(v.root, n) }
	return v
}

// limit changes a tmpfs' size.
func limit(root *os.File, what string, n int) error {
	fs, err := unix.Fspick(int(root.Fd()), "", unix.FSPICK_CLOEXEC|unix.FSPICK_EMPTY_PATH)
	if err != nil {
		return err
	}
	defer unix.Close(fs)
	if err := unix.FsconfigSetString(fs, what, fmt.Sprint(n)); err != nil {
		return err
	}
	return unix.FsconfigReconfigure(fs)
}

// leaveBlocks fills the disk but for n blocks.
func leaveBlocks(path string, n int) error {
	if err := os.RemoveAll(path); err != nil || n < 0 {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	// What was freed is there to be taken again only after the journal's commit.
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return err
	}
	const block = 4096
	var size int64
	for step := int64(1 << 20); step >= block; step /= 2 {
		for unix.Fallocate(int(f.Fd()), 0, size, step) == nil {
			size += step
		}
	}
	return f.Truncate(max(0, size-int64(n)*block))
}

// everyVolume runs a test on each volume with each format.
func everyVolume(t *testing.T, test func(f *full, volume string)) {
	for name, make := range volumes {
		for _, format := range []string{FormatOverlay, FormatErofs} {
			if format == FormatErofs && name != "ext4" {
				continue // the kernel mounts no EROFS file that lies on a tmpfs
			}
			t.Run(name+" "+format, func(t *testing.T) { test(newFull(t, make(t), format), name) })
		}
	}
}

// full is a store on a small file system.
type full struct {
	*testing.T
	volume
	format string
	store  *Store
	reg    *remote
	kept   Image // is there from the start, and has the container "kept"
}

func newFull(t *testing.T, v volume, format string) *full {
	t.Helper()
	f := &full{T: t, volume: v, format: format, reg: newRemote(t)}
	names := make([]string, 12)
	for i := range names {
		names[i] = fmt.Sprintf("d/f%d", i)
	}
	base := tarOf(t, "kept")
	f.reg.push("kept:v1", picture{format: "gzip", layers: [][]byte{base}})
	f.reg.push("app:v1", picture{format: "gzip", layers: [][]byte{base, tarOf(t, names...),
		layertest.Tar(t, layertest.File("d/implicit", "x"), layertest.File("big", strings.Repeat("x", 40_000)))}})
	f.reg.push("other:v1", picture{format: "gzip", layers: [][]byte{tarOf(t, "other")}, cmd: "other"})
	f.open()
	f.kept = pulled(t, f.store, f.ref("kept"))
	if err := f.store.CreateRW("kept", f.kept.ID); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *full) ref(name string) string { return f.reg.host() + "/" + name + ":v1" }

func (f *full) open() {
	f.Helper()
	f.store = open(f.T, func(c *Config) { c.Root, c.Format = f.path("store"), f.format })
}

// rest waits for all work: a layer goes on for a moment after its pull has failed.
func (f *full) rest() {
	f.store.layers.Wait()
	quiescent(f.store)
}

// room leaves n units of room, when the store is at rest.
func (f *full) room(n int) {
	f.Helper()
	f.rest()
	if err := f.leave(n); err != nil {
		f.Fatal(err)
	}
}

// sound checks that the store is usable and that nothing half-made is left.
func (f *full) sound(n int) {
	f.Helper()
	f.rest() // layers without an image go by a timer, which may not have run yet
	clean(f, f.store)
	if _, err := f.store.Get(f.kept.ID); err != nil {
		f.Errorf("room for %d: %v", n, err)
	}
	if left := f.store.ListRW(); len(left) != 1 {
		f.Errorf("room for %d: read-write layers %v", n, left)
	}
}

// refused checks the error of a full disk: its kind, what it names, and the room.
func (f *full) refused(n int, err error, names ...string) {
	f.Helper()
	if told := (*PullError)(nil); !errors.As(err, &told) || told.Kind != NoSpace {
		f.Errorf("room for %d: %v", n, err)
		return
	}
	for _, name := range append(names, "no space left in the image store", "free") {
		if !strings.Contains(err.Error(), name) {
			f.Errorf("room for %d: the error lacks %q: %v", n, name, err)
		}
	}
}

// most bounds how much room is tried.
const most = 400

// more is by how much the room grows from try to try. The race detector, which looks
// for something else, sees a part of them.
func more() int {
	if underRace {
		return 3
	}
	return 1
}

// A disk that is full at any moment of a pull: the error says so, nothing is left of
// the pull, and it works when there is room.
func TestFullDuringPull(t *testing.T) {
	everyVolume(t, func(f *full, volume string) {
		t := f.T
		n := 0
		for ; n < most; n += more() {
			f.room(n)
			_, err := f.store.Pull(t.Context(), f.ref("app"), PullOptions{})
			if err == nil {
				break
			}
			f.refused(n, err, "app:v1")
			f.sound(n)
		}
		t.Logf("goes well with room for %d", n)
		if n == 0 || n >= most {
			t.Errorf("with room for %d", n)
		}
		f.room(-1)
		pulled(t, f.store, f.ref("app"))
		f.sound(n)
	})
}

// The same of making a container.
func TestFullDuringCreate(t *testing.T) {
	everyVolume(t, func(f *full, volume string) {
		t := f.T
		n := 0
		for ; n < most; n += more() {
			f.room(n)
			err := f.store.CreateRW("c", f.kept.ID)
			if err == nil {
				break
			}
			f.refused(n, err, "read-write layer c")
			f.sound(n)
		}
		t.Logf("goes well with room for %d", n)
		if n >= most || n == 0 && volume != "tmpfs blocks" { // where a directory takes no block
			t.Errorf("with room for %d", n)
		}
		if err := f.store.RemoveRW("c"); err != nil {
			t.Error(err)
		}
		f.room(-1)
		f.sound(n)
	})
}

// On a disk that is full to the last byte, images and containers can be removed, one
// after the other, and a store can be opened.
func TestFullDuringRemove(t *testing.T) {
	everyVolume(t, func(f *full, volume string) {
		t := f.T
		for n := 0; n < 24; n += more() {
			f.room(-1)
			app, other := pulled(t, f.store, f.ref("app")), pulled(t, f.store, f.ref("other"))
			if err := f.store.CreateRW("c", app.ID); err != nil {
				t.Fatal(err)
			}
			f.room(n)
			if err := f.store.Close(); err != nil {
				t.Fatal(err)
			}
			f.open()
			for _, id := range []string{other.ID, app.ID} {
				if err := f.store.Remove(t.Context(), id); err != nil {
					t.Errorf("room for %d: %v", n, err)
				}
				f.room(n)
			}
			if err := f.store.RemoveRW("c"); err != nil {
				t.Errorf("room for %d: %v", n, err)
			}
			quiescent(f.store)
			if rows := f.store.db.Snapshot(); len(rows.Images) != 1 || len(rows.Layers) != 1 {
				t.Errorf("room for %d: %d images and %d layers", n, len(rows.Images), len(rows.Layers))
			}
			f.sound(n)
		}
	})
}
