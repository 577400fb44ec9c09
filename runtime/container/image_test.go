package container

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/varve-cri/varve/runtime/internal/mount"
	"github.com/varve-cri/varve/runtime/plan"
	"golang.org/x/sys/unix"
)

// newImage is a detached mount with a file in it; sub makes it that file.
func newImage(t *testing.T, name string, sub bool) *os.File {
	t.Helper()
	fd, err := mount.New("tmpfs", "image", []string{"mode=755"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "image")
	t.Cleanup(func() { f.Close() })
	file := fmt.Sprintf("/proc/self/fd/%d/file", fd)
	write(t, file, []byte("of "+name), 0o644)
	if !sub {
		return f
	}
	at, err := unix.OpenTree(fd, "file", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err == unix.EINVAL { // before Linux 6.15 a detached mount cannot be cloned
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	single := os.NewFile(uintptr(at), "file")
	t.Cleanup(func() { single.Close() })
	return single
}

// Images arrive as descriptors and lie where the plan says, read-only and with its
// attributes; the host's mount table does not know them.
func TestImages(t *testing.T) {
	p := newPlan("/bin/probe", "do", "read:/a/file", "write:/a/file", "read:/b/deep/file", "read:/etc/one", "write:/etc/one")
	image := func(target string, attr uint64) plan.Mount {
		return plan.Mount{Target: target, Type: plan.Image, Source: "sha256:1", AttrSet: attrRO | attr}
	}
	p.Mounts = append(p.Mounts, image("/a", 0), plan.Mount{Target: "/b", Type: "tmpfs", Source: "b"}, image("/b/deep", unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC))
	images := []*os.File{newImage(t, "first", false), newImage(t, "second", false)}
	if single := newImage(t, "third", true); single != nil {
		p.Mounts, images = append(p.Mounts, image("/etc/one", 0)), append(images, single)
	} else {
		p.Mounts, images = append(p.Mounts, image("/etc", 0)), append(images, newImage(t, "third", false))
	}
	root := newRoot(t, nil)
	o := collect(t, func(s Stdio) (*Started, error) {
		space, err := NewSpace()
		if err != nil {
			return nil, err
		}
		defer space.Close()
		return space.Run(p, root, Caller{Images: images, Ready: func() (Stdio, error) { return s, nil }})
	})
	equal(t, "a directory", o.Files["read:/a/file"], "of first")
	equal(t, "a write", o.Files["write:/a/file"], "EROFS")
	equal(t, "below a tmpfs", o.Files["read:/b/deep/file"], "of second")
	if len(images) == 3 && o.Files["read:/etc/one"] != "of third" {
		t.Errorf("a file: %q", o.Files["read:/etc/one"])
	}
	if !strings.HasPrefix(o.Mounts["/a"], "ro,relatime ") || !strings.HasPrefix(o.Mounts["/b/deep"], "ro,nodev,noexec,relatime ") {
		t.Errorf("/a: %s\n/b/deep: %s", o.Mounts["/a"], o.Mounts["/b/deep"])
	}
}

func TestImagesAreCounted(t *testing.T) {
	p := newPlan("/bin/pause")
	p.Mounts = append(p.Mounts, plan.Mount{Target: "/a", Type: plan.Image, Source: "sha256:1", AttrSet: attrRO})
	for _, images := range [][]*os.File{nil, {newImage(t, "a", false), newImage(t, "b", false)}} {
		space, err := NewSpace()
		if err != nil {
			t.Fatal(err)
		}
		st, err := space.Run(p, newRoot(t, nil), Caller{Images: images})
		if e := (*StepError)(nil); !errors.As(err, &e) || st != nil || !strings.Contains(err.Error(), "images for 1 mounts") {
			t.Errorf("%d images: %v, %v", len(images), st, err)
		}
		space.Close()
	}
}
