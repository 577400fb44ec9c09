package plan

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/config"
	"github.com/varve-cri/varve/cri/fault"
)

func ids(inside, host, length uint32) []*runtimeapi.IDMapping {
	return []*runtimeapi.IDMapping{{ContainerId: inside, HostId: host, Length: length}}
}

func userns(uids, gids []*runtimeapi.IDMapping) *runtimeapi.UserNamespace {
	return &runtimeapi.UserNamespace{Mode: runtimeapi.NamespaceMode_POD, Uids: uids, Gids: gids}
}

func TestPodUserNamespace(t *testing.T) {
	good := userns(ids(0, 100000, 65536), ids(0, 200000, 1000))
	for _, network := range []runtimeapi.NamespaceMode{runtimeapi.NamespaceMode_POD, runtimeapi.NamespaceMode_NODE} {
		req := podRequest(func(c *runtimeapi.PodSandboxConfig) {
			namespaces(c).UsernsOptions, namespaces(c).Network = good, network
			c.Linux.Sysctls = nil
		})
		p, err := Pod(req, "", config.Default())
		want := &UserNamespace{UID: IDRange{100000, 65536}, GID: IDRange{200000, 1000}}
		if err != nil || !reflect.DeepEqual(p.UserNS, want) || !reflect.DeepEqual(UserNamespaceOf(req), want) {
			t.Errorf("network %s: %+v, %v", network, p, err)
		}
		if uid, gid := p.UserNS.Owner(); uid != 100000 || gid != 200000 {
			t.Errorf("owner %d:%d", uid, gid)
		}
	}
	for _, none := range []*runtimeapi.UserNamespace{nil, {Mode: runtimeapi.NamespaceMode_NODE}} {
		req := podRequest(func(c *runtimeapi.PodSandboxConfig) { namespaces(c).UsernsOptions = none })
		if p, err := Pod(req, "", config.Default()); err != nil || p.UserNS != nil || UserNamespaceOf(req) != nil {
			t.Errorf("%v: %+v, %v", none, p, err)
		}
	}
}

func TestPodUserNamespaceErrors(t *testing.T) {
	good := ids(0, 100000, 65536)
	two := append(slices.Clone(good), ids(0, 2000, 100)...)
	for want, u := range map[string]*runtimeapi.UserNamespace{
		"userns_options.uids: 0 mappings":                   userns(nil, good),
		"userns_options.gids: 0 mappings":                   userns(good, nil),
		"userns_options.uids: 2 mappings":                   userns(two, good),
		"userns_options.gids: 2 mappings":                   userns(good, two),
		"uids[0].container_id: 1: id 0 would not be mapped": userns(ids(1, 1000, 10), good),
		"gids[0].length: is 0":                              userns(good, ids(0, 1000, 0)),
		"uids[0]: 2 ids from 4294967294 on run over":        userns(ids(0, 1<<32-2, 2), good),
		"gids[0]: 4294967295 ids from 1 on run over":        userns(good, ids(0, 1, 1<<32-1)),
		"uids[0].length":                                    userns([]*runtimeapi.IDMapping{nil}, good),
		"mode: CONTAINER is neither POD nor NODE":           {Mode: runtimeapi.NamespaceMode_CONTAINER},
		"mode: TARGET is neither POD nor NODE":              {Mode: runtimeapi.NamespaceMode_TARGET},
		"mode: 7 is neither POD nor NODE":                   {Mode: 7},
		"the host's user namespace has no mappings":         {Mode: runtimeapi.NamespaceMode_NODE, Gids: good},
	} {
		_, err := Pod(podRequest(func(c *runtimeapi.PodSandboxConfig) { namespaces(c).UsernsOptions = u }), "", config.Default())
		var bad *fault.InvalidError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
	for want, edit := range map[string]func(*runtimeapi.NamespaceOption){
		"mode: POD with the host's processes": func(o *runtimeapi.NamespaceOption) { o.Pid = runtimeapi.NamespaceMode_NODE },
		"mode: POD with the host's IPC":       func(o *runtimeapi.NamespaceOption) { o.Ipc = runtimeapi.NamespaceMode_NODE },
	} {
		_, err := Pod(podRequest(func(c *runtimeapi.PodSandboxConfig) {
			namespaces(c).UsernsOptions = userns(good, good)
			edit(namespaces(c))
		}), "", config.Default())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

// mappedInput is a container of a pod with a user namespace of 65536 ids.
func mappedInput(edit func(*ContainerInput)) *ContainerInput {
	return input(func(in *ContainerInput) {
		in.Pod.UserNS, in.Pod.UserNSPath = &UserNamespace{UID: IDRange{100000, 65536}, GID: IDRange{200000, 65536}}, "/run/pod/ns/user"
		if edit != nil {
			edit(in)
		}
	})
}

func TestContainerUserNamespace(t *testing.T) {
	same := userns(ids(0, 100000, 65536), ids(0, 200000, 65536))
	for _, asked := range []*runtimeapi.UserNamespace{nil, same} {
		p, err := Container(mappedInput(func(in *ContainerInput) {
			sc(in).NamespaceOptions = &runtimeapi.NamespaceOption{Pid: runtimeapi.NamespaceMode_CONTAINER, UsernsOptions: asked}
		}))
		if err != nil {
			t.Fatal(err)
		}
		linux := p.Spec.Linux
		if !slices.Contains(linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace, Path: "/run/pod/ns/user"}) ||
			!reflect.DeepEqual(linux.UIDMappings, []specs.LinuxIDMapping{{HostID: 100000, Size: 65536}}) ||
			!reflect.DeepEqual(linux.GIDMappings, []specs.LinuxIDMapping{{HostID: 200000, Size: 65536}}) {
			t.Errorf("%v: %+v", asked, linux)
		}
		// What the kubelet sends for procMount Unmasked.
		if len(linux.MaskedPaths) > 0 || len(linux.ReadonlyPaths) > 0 {
			t.Errorf("masked %q, read-only %q", linux.MaskedPaths, linux.ReadonlyPaths)
		}
	}
	p, err := Container(mappedInput(func(in *ContainerInput) {
		sc(in).MaskedPaths, sc(in).ReadonlyPaths = []string{"/proc/keys"}, []string{"/proc/sys"}
	}))
	if err != nil || !slices.Equal(p.Spec.Linux.MaskedPaths, []string{"/proc/keys"}) || !slices.Equal(p.Spec.Linux.ReadonlyPaths, []string{"/proc/sys"}) {
		t.Errorf("%+v, %v", p, err)
	}
}

// A privileged container in a user namespace has all there, but not the host's
// devices.
func TestPrivilegedInUserNamespace(t *testing.T) {
	p, err := Container(mappedInput(func(in *ContainerInput) {
		sc(in).Privileged = true
		in.PodConfig.Linux.SecurityContext.Privileged = true
	}))
	if err != nil {
		t.Fatal(err)
	}
	if rules := p.Spec.Linux.Resources.Devices; len(p.Spec.Linux.Devices) > 0 || len(rules) == 0 || rules[0].Allow {
		t.Errorf("devices %+v, rules %+v", p.Spec.Linux.Devices, rules)
	}
	if !slices.Contains(p.Spec.Process.Capabilities.Effective, "CAP_SYS_ADMIN") {
		t.Errorf("capabilities %v", p.Spec.Process.Capabilities)
	}
}

func TestContainerUserNamespaceErrors(t *testing.T) {
	options := func(u *runtimeapi.UserNamespace) func(*ContainerInput) {
		return func(in *ContainerInput) {
			sc(in).NamespaceOptions = &runtimeapi.NamespaceOption{Pid: runtimeapi.NamespaceMode_CONTAINER, UsernsOptions: u}
		}
	}
	for want, in := range map[string]*ContainerInput{
		"mode: POD: the pod has no user namespace": input(options(userns(ids(0, 100000, 65536), ids(0, 200000, 65536)))),
		"mode: NODE: the pod has a user namespace": mappedInput(options(&runtimeapi.UserNamespace{Mode: runtimeapi.NamespaceMode_NODE})),
		"userns_options: the mappings are not":     mappedInput(options(userns(ids(0, 100000, 65536), ids(0, 200001, 65536)))),
		"userns_options.uids: 0 mappings":          mappedInput(options(userns(nil, nil))),
		"run_as_user: 65536 is not mapped":         mappedInput(func(in *ContainerInput) { sc(in).RunAsUser = &runtimeapi.Int64Value{Value: 65536} }),
		"group 70000 is not mapped":                mappedInput(func(in *ContainerInput) { sc(in).SupplementalGroups = []int64{70000} }),
		"config.mounts[0].propagation: PROPAGATION_": mappedInput(func(in *ContainerInput) {
			in.Config.Mounts = []*runtimeapi.Mount{{ContainerPath: "/a", HostPath: "/b", Propagation: 2}}
		}),
	} {
		_, err := Container(in)
		var bad *fault.InvalidError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}
