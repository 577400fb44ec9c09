package compile

import (
	"reflect"
	"slices"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/varve-cri/varve/runtime/plan"
	"golang.org/x/sys/unix"
)

// mapTo gives a spec a user namespace with 2000 ids.
func mapTo(s *specs.Spec) {
	s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace, Path: "/run/ns/user"})
	s.Linux.UIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 2000}}
	s.Linux.GIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: 200000, Size: 2000}}
}

// The plan has the host's ids of what the host makes, and the container's of
// what the process becomes inside.
func TestUserNamespace(t *testing.T) {
	spec := load(t, "kubernetes")
	mapTo(spec)
	spec.Process.User = specs.User{UID: 7, GID: 8, AdditionalGids: []uint32{9}}
	gid, far := uint32(44), uint32(5000)
	spec.Linux.Devices = []specs.LinuxDevice{
		{Path: "/dev/a", Type: "c", Major: 1, Minor: 1, GID: &gid},
		{Path: "/dev/b", Type: "c", Major: 1, Minor: 1, UID: &far, GID: &far},
	}
	p, err := Compile("x", spec, Options{CgroupV2: "/sys/fs/cgroup/x"})
	if err != nil {
		t.Fatal(err)
	}
	if p.Owner != (plan.Owner{UID: 100000, GID: 200000}) {
		t.Errorf("owner %+v", p.Owner)
	}
	if !slices.Contains(p.Namespaces, plan.Namespace{Type: unix.CLONE_NEWUSER, Path: "/run/ns/user"}) {
		t.Errorf("namespaces %+v", p.Namespaces)
	}
	proc := &p.Process
	if !proc.UserNS || proc.UID != 7 || proc.GID != 8 || !reflect.DeepEqual(proc.Groups, []uint32{9}) || proc.Host() != 100007 {
		t.Errorf("process %+v", proc)
	}
	owner := map[string][2]uint32{}
	for _, d := range p.Devices {
		owner[d.Path] = [2]uint32{d.UID, d.GID}
	}
	for path, want := range map[string][2]uint32{"/dev/null": {100000, 200000}, "/dev/a": {100000, 200044}, "/dev/b": {100000, 200000}} {
		if owner[path] != want {
			t.Errorf("%s belongs to %v, want %v", path, owner[path], want)
		}
	}
	for _, m := range p.Mounts {
		if m.Type == "devpts" && !slices.Contains(m.Data, "gid=200005") {
			t.Errorf("devpts has %q", m.Data)
		}
	}
	again, err := Exec(spec, []byte{1})
	if err != nil || again.Host() != 100007 || !again.UserNS || !reflect.DeepEqual(again.Seccomp, []byte{1}) {
		t.Errorf("exec %+v, %v", again, err)
	}
}

func TestUserNamespaceErrors(t *testing.T) {
	for want, edit := range map[string]func(*specs.Spec){
		"linux.uidMappings: id 0 is not mapped":                      func(s *specs.Spec) { s.Linux.UIDMappings[0].ContainerID = 1 },
		"linux.gidMappings: id 0 is not mapped":                      func(s *specs.Spec) { s.Linux.GIDMappings = nil },
		"process.user.uid: 2000 is not mapped in the user namespace": func(s *specs.Spec) { s.Process.User.UID = 2000 },
		"process.user: group 2000 is not mapped in the user namespace": func(s *specs.Spec) {
			s.Process.User.AdditionalGids = []uint32{1, 2000}
		},
		"mount /s on /t: mounts do not spread from a user namespace to the host": func(s *specs.Spec) {
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/t", Source: "/s", Options: []string{"rbind", "rshared"}})
		},
	} {
		spec := load(t, "kubernetes")
		mapTo(spec)
		edit(spec)
		if _, err := Compile("x", spec, Options{CgroupV2: "/sys/fs/cgroup/x"}); err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
	}
	spec := load(t, "kubernetes")
	mapTo(spec)
	at := &spec.Linux.Namespaces[len(spec.Linux.Namespaces)-1]
	at.Path = ""
	if _, err := Compile("x", spec, Options{CgroupV2: "/sys/fs/cgroup/x"}); err == nil {
		t.Error("a new user namespace was taken")
	}
}
