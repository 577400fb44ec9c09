package overlay

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/imagestore/layer"
	"github.com/varve-cri/varve/runtime/idmap"
)

// owners is a mapping for a root below dir.
func owners(t *testing.T, dir string) *layer.Owners {
	t.Helper()
	ns, err := idmap.Namespace([]idmap.Range{{Outside: 100000, Length: 1000}}, []idmap.Range{{Outside: 200000, Length: 1000}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return &layer.Owners{Namespace: ns, UID: 100000, GID: 200000, Dir: dir}
}

// Each way of mounting, also those that this kernel does not need: what is below
// is shown, copied up, and written with the ids of the disk.
func TestOwnersEachAPI(t *testing.T) {
	probed, err := New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	has := slices.IndexFunc(mountAPIs, func(api mountAPI) bool { return api.name == probed.API() })
	for _, api := range mountAPIs[has:] {
		for _, attach := range []bool{true, false} {
			if !attach && api.name != "lower fds" {
				continue
			}
			dir := t.TempDir()
			d, err := New(filepath.Join(dir, "scratch"))
			if err != nil {
				t.Fatal(err)
			}
			d.api = api
			d.attach.Store(attach)
			s := layer.Stack{Base: filepath.Join(dir, "base"), Upper: filepath.Join(dir, "upper"), Work: filepath.Join(dir, "work"), Owners: owners(t, dir)}
			for _, name := range []string{s.Base, s.Upper, s.Work, dir + "/l", dir + "/l/tree"} {
				if err := os.Mkdir(name, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			for name, uid := range map[string]int{s.Base + "/a": 0, dir + "/l/tree/b": 7} {
				if err := os.WriteFile(name, []byte("x"), 0o600); err != nil {
					t.Fatal(err)
				}
				if err := os.Chown(name, uid, uid); err != nil {
					t.Fatal(err)
				}
			}
			s.Layers = []string{dir + "/l"}
			f, err := d.Mount(s)
			if err != nil {
				t.Fatalf("%s, attached %t: %v", api.name, attach, err)
			}
			err = idmap.As(100003, 200003, func() error {
				for name, want := range map[string]uint32{"a": 100000, "b": 100007} {
					var st unix.Stat_t
					if err := unix.Fstatat(int(f.Fd()), name, &st, 0); err != nil || st.Uid != want || st.Gid != want+100000 {
						t.Errorf("%s, attached %t: %s belongs to %d:%d, %v", api.name, attach, name, st.Uid, st.Gid, err)
					}
				}
				if err := unix.Fchownat(int(f.Fd()), "b", 100008, 200008, 0); err != nil {
					return err
				}
				return unix.Mkdirat(int(f.Fd()), "made", 0o755)
			})
			if err != nil {
				t.Errorf("%s, attached %t: %v", api.name, attach, err)
			}
			f.Close()
			for name, want := range map[string]uint32{"b": 8, "made": 3} {
				var st unix.Stat_t
				if err := unix.Lstat(s.Upper+"/"+name, &st); err != nil || st.Uid != want || st.Gid != want {
					t.Errorf("%s, attached %t: on the disk %s belongs to %d:%d, %v", api.name, attach, name, st.Uid, st.Gid, err)
				}
			}
			if d.attach.Load() != attach {
				t.Logf("%s: this kernel takes no detached mounts", api.name)
			}
		}
	}
}

func TestTryOwners(t *testing.T) {
	dir := t.TempDir()
	d, err := New(filepath.Join(dir, "scratch"))
	if err != nil {
		t.Fatal(err)
	}
	for _, attach := range []bool{false, true} {
		d.attach.Store(attach)
		if err := d.TryOwners(filepath.Join(dir, "scratch"), owners(t, dir)); err != nil {
			t.Errorf("attached %t: %v", attach, err)
		}
	}
}
