package container

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/e2e/harness"
	"github.com/varve-cri/varve/e2e/testimage"
)

// TestMappedVolume shows files of users 0 and 5 as those of 100000 and 100005, and
// what user 100005 writes is user 5's on the disk.
func TestMappedVolume(t *testing.T) {
	h := suite.Test(t)
	dir := volume(t)
	h.Must(os.Chmod(dir, 0o777))
	h.Must(os.Chown(filepath.Join(dir, "note"), 5, 6))
	below, other := filepath.Join(dir, "below"), volume(t)
	h.Must(os.Mkdir(below, 0o755))
	h.Must(unix.Mount(other, below, "", unix.MS_BIND, ""))
	t.Cleanup(func() { unix.Unmount(below, unix.MNT_DETACH) }) //nolint:errcheck // the audit finds it
	ids := func(host uint32) []*runtimeapi.IDMapping {
		return []*runtimeapi.IDMapping{{ContainerId: 0, HostId: host, Length: 65536}}
	}
	pod := h.Pod()
	as := harness.Security(func(s *securityContext) { s.RunAsUser, s.RunAsGroup = number(100005), number(200006) })
	mapped := func(path, host string, readonly bool) harness.Change {
		return mount(&runtimeapi.Mount{
			HostPath: host, ContainerPath: path, Readonly: readonly, UidMappings: ids(100000), GidMappings: ids(200000),
		})
	}
	c := pod.Create(harness.Say("sleep"), as, mapped("/v", dir, false), mapped("/ro", dir, true), mapped("/file", filepath.Join(dir, "note"), false),
		mount(&runtimeapi.Mount{HostPath: dir, ContainerPath: "/plain"}))
	h.Kill(t) // what Create has tried, the start makes anew
	h.Restart(t)
	h.Must(c.TryStart())
	got := c.Exec("stat /v/note /v/below/note /file /plain/note")
	want := "100644 100005:200006 0:0 14 /v/note\n100644 100000:200000 0:0 14 /v/below/note\n100644 100005:200006 0:0 14 /file\n100644 5:6 0:0 14 /plain/note\n"
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	c.Exec("write /v/new hello")
	refused(t, c, "write /ro/new2 x", "read-only file system")
	refused(t, c, "write /plain/note x", "permission denied")
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(dir, "new"), &st); err != nil || st.Uid != 5 || st.Gid != 6 {
		t.Errorf("on the disk: %d:%d, %v", st.Uid, st.Gid, err)
	}
	if m := c.Status().GetMounts(); len(m) != 4 || m[0].GetUidMappings()[0].GetHostId() != 100000 {
		t.Errorf("status tells %v", m)
	}

	ref := dataImage(h, "mapped", testimage.Dir("data"), testimage.File{Name: "data/x", Body: "x", UID: 5, GID: 6})
	part := imageVolume("/image", ref, "data")
	part.UidMappings, part.GidMappings = ids(100000), ids(200000)
	if got := pod.Output(harness.Say("stat /image/x + cat /image/x"), as, mount(part)); got != "100644 100005:200006 0:0 1 /image/x\nx" {
		t.Errorf("the image: %s", got)
	}
	_, err := pod.TryCreate(mapped("/v", "/proc/sys", false))
	h.WantCode(err, codes.InvalidArgument, "config.mounts[0].host_path", "/proc/sys", "cannot show other owners")
	_, err = pod.TryCreate(mount(&runtimeapi.Mount{HostPath: dir, ContainerPath: "/v", UidMappings: ids(1)}))
	h.WantCode(err, codes.InvalidArgument, "config.mounts[0].gidMappings")
}
