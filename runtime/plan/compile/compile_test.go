package compile

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/varve-cri/varve/runtime/plan"
	"golang.org/x/sys/unix"
)

var update = flag.Bool("update", false, "write the golden files anew")

func load(t *testing.T, name string) *specs.Spec {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	spec := &specs.Spec{}
	if err := json.Unmarshal(b, spec); err != nil {
		t.Fatal(err)
	}
	return spec
}

func TestGolden(t *testing.T) {
	for name, opt := range map[string]Options{
		"kubernetes": {
			Seccomp: []byte{1, 2, 3, 4, 5, 6, 7, 8}, SeccompFlags: 2, CgroupV2: "/sys/fs/cgroup/unified/pod/c",
			CgroupV1: []string{"/sys/fs/cgroup/cpu,cpuacct/pod/c", "/sys/fs/cgroup/memory/pod/c"},
		},
		"privileged": {CgroupV2: "/sys/fs/cgroup/pod/c"},
	} {
		p, err := Compile(name, load(t, name), opt)
		if err != nil {
			t.Fatal(err)
		}
		got, err := json.MarshalIndent(p, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join("testdata", name+".golden")
		if *update {
			if err := os.WriteFile(file, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil || string(got) != string(want) {
			t.Errorf("%s differs (%v):\n%s", file, err, got)
		}
		back, err := plan.Decode(p.Encode())
		if err != nil || !reflect.DeepEqual(back, p) {
			t.Errorf("%s does not survive the codec: %v", name, err)
		}
	}
}

// The plan's /dev and /dev/pts as Kubernetes asks for them are those that a
// waiting space has ready.
func TestUsualDevIsRecognised(t *testing.T) {
	p, err := Compile("x", load(t, "kubernetes"), Options{CgroupV2: "/sys/fs/cgroup/x"})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range p.Mounts {
		want := map[string][]string{"/dev": plan.StandardDevData(), "/dev/pts": plan.StandardPtsData()}[m.Target]
		if want == nil {
			continue
		}
		have := map[string]bool{}
		for _, o := range m.Data {
			have[o] = true
		}
		for _, o := range want {
			if !have[o] || len(m.Data) != len(want) {
				t.Errorf("%s has %q, ready is %q", m.Target, m.Data, want)
			}
		}
	}
}

func TestErrorsNameTheField(t *testing.T) {
	for want, edit := range map[string]func(*specs.Spec){
		"process: missing":                           func(s *specs.Spec) { s.Process = nil },
		"process.args: missing":                      func(s *specs.Spec) { s.Process.Args = nil },
		"process.args[1]: holds a zero byte":         func(s *specs.Spec) { s.Process.Args = []string{"a", "b\x00"} },
		"process.env[0]: holds a zero byte":          func(s *specs.Spec) { s.Process.Env = []string{"A=\x00"} },
		`process.cwd: "tmp" is not an absolute path`: func(s *specs.Spec) { s.Process.Cwd = "tmp" },
		"process.oomScoreAdj: -1001 is not in [-1000, 1000]": func(s *specs.Spec) {
			v := -1001
			s.Process.OOMScoreAdj = &v
		},
		`process.capabilities.bounding[0]: "CAP_MAGIC" is no capability`: func(s *specs.Spec) {
			s.Process.Capabilities.Bounding = []string{"CAP_MAGIC"}
		},
		`process.rlimits[0].type: unknown "RLIMIT_X"`: func(s *specs.Spec) {
			s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_X"}}
		},
		"process.rlimits[0].soft: 2 is more than the hard limit 1": func(s *specs.Spec) {
			s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_CPU", Soft: 2, Hard: 1}}
		},
		"hooks: not supported":                          func(s *specs.Spec) { s.Hooks = &specs.Hooks{Poststop: make([]specs.Hook, 1)} },
		"linux.uidMappings: there is no user namespace": func(s *specs.Spec) { s.Linux.UIDMappings = make([]specs.LinuxIDMapping, 1) },
		"linux.sysctl: not supported":                   func(s *specs.Spec) { s.Linux.Sysctl = map[string]string{"a": "b"} },
		`linux.namespaces[0].type: "time" is not supported`: func(s *specs.Spec) {
			s.Linux.Namespaces[0] = specs.LinuxNamespace{Type: specs.TimeNamespace}
		},
		"linux.namespaces: no mount namespace, which a container always has": func(s *specs.Spec) { s.Linux.Namespaces = nil },
		`linux.maskedPaths[0]: "x" is not an absolute path`:                  func(s *specs.Spec) { s.Linux.MaskedPaths = []string{"x"} },
		`linux.devices[0].type: "x" is none of c, b, u, p`: func(s *specs.Spec) {
			s.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/x", Type: "x"}}
		},
		`linux.rootfsPropagation: unknown "x"`:    func(s *specs.Spec) { s.Linux.RootfsPropagation = "x" },
		`hostname: "h" needs a new uts namespace`: func(s *specs.Spec) { s.Hostname = "h" },
	} {
		spec := load(t, "kubernetes")
		edit(spec)
		if _, err := Compile("x", spec, Options{CgroupV2: "/sys/fs/cgroup/x"}); err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

func TestMountErrors(t *testing.T) {
	for want, m := range map[string]specs.Mount{
		`mounts[0].destination: "x" is not an absolute path`:      {Destination: "x", Type: "tmpfs"},
		`mounts[0].destination: "/x/.." is the root itself`:       {Destination: "/x/..", Type: "tmpfs"},
		`mounts[0].source: "x" is not an absolute path`:           {Destination: "/x", Source: "x", Options: []string{"bind"}},
		`mounts[0].type: missing`:                                 {Destination: "/x"},
		`mounts[0].options: "tmpcopyup" is not supported`:         {Destination: "/x", Type: "tmpfs", Options: []string{"tmpcopyup"}},
		`mounts[0].options: "size=1" is unknown to a bind mount`:  {Destination: "/x", Source: "/x", Options: []string{"rbind", "size=1"}},
		`mounts[0].destination: procfs is mounted once, on /proc`: {Destination: "/x", Type: "proc"},
		`mounts[0].options: an image is mounted read-only`:        {Destination: "/x", Type: "image", Source: "i", Options: []string{"nosuid"}},
		`mounts[0].uidMappings: a new mount has no other owners`:  {Destination: "/x", Type: "tmpfs", UIDMappings: make([]specs.LinuxIDMapping, 1)},
		`mounts[0].options: mounts do not spread from an image`:   {Destination: "/x", Type: "image", Source: "i", Options: []string{"ro", "rshared"}},
		// CVE-2019-16884
		`mount image on /proc: only procfs may be mounted there`:                  {Destination: "/proc", Type: "image", Options: []string{"ro"}},
		`mount image on /proc/cpuinfo: nothing may be mounted there`:              {Destination: "/proc/cpuinfo", Type: "image", Options: []string{"ro"}},
		`mount bind on /proc: only procfs may be mounted there`:                   {Destination: "/proc", Source: "/x", Options: []string{"bind"}},
		`mount tmpfs on /proc: only procfs may be mounted there`:                  {Destination: "/sys/../proc/", Type: "tmpfs"},
		`mount bind on /proc/self/attr: nothing may be mounted there`:             {Destination: "/proc/self/attr", Source: "/x", Options: []string{"bind"}},
		`mounts[0]: cgroup /elsewhere is not in a hierarchy below /sys/fs/cgroup`: {Destination: "/sys/fs/cgroup", Type: "cgroup"},
	} {
		spec := load(t, "kubernetes")
		spec.Mounts = []specs.Mount{m}
		if _, err := Compile("x", spec, Options{CgroupV1: []string{"/elsewhere"}}); err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

// A bind mount with mappings is made by who has the user namespace; all else of it
// is as with any other.
func TestMappedMount(t *testing.T) {
	ids := []specs.LinuxIDMapping{{HostID: 100000, Size: 1}}
	spec := load(t, "kubernetes")
	spec.Mounts = []specs.Mount{{Destination: "/x", Source: "/h", Type: "bind", Options: []string{"rbind", "rslave", "rw"}, UIDMappings: ids, GIDMappings: ids}}
	p, err := Compile("x", spec, Options{CgroupV2: "/sys/fs/cgroup/x"})
	if err != nil {
		t.Fatal(err)
	}
	want := plan.Mount{Target: "/x", Type: plan.Image, Source: "/h", Recursive: true, Propagation: unix.MS_SLAVE | unix.MS_REC}
	if got := p.Mounts[0]; !reflect.DeepEqual(got, want) || p.Images() != 1 {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// The container's own file systems show the label, those of others do not.
func TestMountLabel(t *testing.T) {
	const label = "system_u:object_r:container_file_t:s0:c1,c2"
	spec := load(t, "kubernetes")
	spec.Linux.MountLabel = label
	p, err := Compile("x", spec, Options{CgroupV2: "/sys/fs/cgroup/x"})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range p.Mounts {
		own := m.Type == "tmpfs" || m.Type == "devpts"
		if slices.Contains(m.Data, "context="+label) != own {
			t.Errorf("%s on %s has the options %q", m.Type, m.Target, m.Data)
		}
	}
	spec.Linux.MountLabel = "a\x00b"
	if _, err := Compile("x", spec, Options{CgroupV2: "/sys/fs/cgroup/x"}); err == nil || !strings.HasPrefix(err.Error(), "linux.mountLabel: ") {
		t.Errorf("a zero byte: %v", err)
	}
}

func TestMountOptions(t *testing.T) {
	const ro, nosuid, atime = unix.MOUNT_ATTR_RDONLY, unix.MOUNT_ATTR_NOSUID, unix.MOUNT_ATTR__ATIME
	for options, want := range map[string]plan.Mount{
		"rbind rprivate ro":     {Recursive: true, Propagation: unix.MS_PRIVATE | unix.MS_REC, AttrSet: ro},
		"rbind rro":             {Recursive: true, RecAttrSet: ro},
		"bind ro rw":            {},
		"bind rw":               {}, // a read-only source stays so
		"rbind rrw":             {Recursive: true, RecAttrClear: ro},
		"bind suid":             {AttrClear: nosuid},
		"bind suid nosuid":      {AttrSet: nosuid},
		"bind noatime":          {AttrSet: unix.MOUNT_ATTR_NOATIME, AttrClear: atime},
		"bind slave":            {Propagation: unix.MS_SLAVE},
		"rbind rshared rnosuid": {Recursive: true, Propagation: unix.MS_SHARED | unix.MS_REC, RecAttrSet: nosuid},
		"bind src-nofollow":     {NoFollow: true},
	} {
		want.Type, want.Target, want.Source = "bind", "/t", "/s"
		got, err := mount("m", &specs.Mount{Destination: "/t", Source: "/s", Options: strings.Fields(options)})
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v; want %+v", options, got, err, want)
		}
	}
}

func TestImageMounts(t *testing.T) {
	spec := load(t, "kubernetes")
	spec.Mounts = append(spec.Mounts, specs.Mount{Destination: "/v", Type: "image", Source: "sha256:1/etc", Options: []string{"rro", "nosuid"}})
	p, err := Compile("x", spec, Options{CgroupV2: "/sys/fs/cgroup/x"})
	if err != nil {
		t.Fatal(err)
	}
	want := plan.Mount{Target: "/v", Type: plan.Image, Source: "sha256:1/etc", AttrSet: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID}
	if got := p.Mounts[len(p.Mounts)-1]; !reflect.DeepEqual(got, want) || p.Images() != 1 {
		t.Errorf("%+v (%d), want %+v", got, p.Images(), want)
	}
}

func TestInheritableNeedsAmbient(t *testing.T) {
	c, err := capabilities(&specs.LinuxCapabilities{Inheritable: []string{"CAP_CHOWN", "CAP_KILL"}, Ambient: []string{"CAP_KILL"}})
	if err != nil || c.Inheritable != 1<<unix.CAP_KILL {
		t.Errorf("%+v, %v", c, err)
	}
}

func FuzzCompile(f *testing.F) {
	b, err := os.ReadFile("testdata/kubernetes.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		spec := &specs.Spec{}
		if json.Unmarshal(b, spec) != nil {
			return
		}
		p, err := Compile("x", spec, Options{CgroupV2: "/sys/fs/cgroup/x"})
		if err != nil {
			return
		}
		if _, err := plan.Decode(p.Encode()); err != nil {
			t.Errorf("the plan does not survive the codec: %v", err)
		}
	})
}
