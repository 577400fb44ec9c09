package server

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/varve-cri/varve/cri/plan"
	"github.com/varve-cri/varve/cri/record"
	"github.com/varve-cri/varve/cri/shm"
	"github.com/varve-cri/varve/imagestore"
	"github.com/varve-cri/varve/runtime/seccomp"
)

// prepared is a container's plan with its seccomp program. It is a function of
// the record, the image and the node, so that it is made anew when a daemon
// that did not make it starts the container.
type prepared struct {
	plan  *plan.ContainerPlan
	prog  []byte
	flags uint32
}

// prepare plans the container of rec.
func (s *Server) prepare(p *pod, rec *record.Container, img imagestore.Image) (*prepared, error) {
	pr := p.rec.Load()
	handler, ok := s.conf().Handler(pr.Handler)
	if !ok {
		return nil, notFound("runtime handler", pr.Handler)
	}
	facts, err := s.podFacts(p, rec.Config)
	if err != nil {
		return nil, err
	}
	passwd, group, err := s.images.Users(img.ID)
	if err != nil {
		return nil, err // it names the image
	}
	cp, err := plan.Container(&plan.ContainerInput{
		ID: rec.ID, Config: rec.Config, PodConfig: pr.Config, Pod: *facts,
		Volumes: volumesOf(rec), Devices: rec.Devices, Image: img.Config.Config, Passwd: passwd, Group: group, Handler: handler, Host: s.facts(),
	})
	if err != nil {
		return nil, err
	}
	if err := s.apparmor.Ensure(cp.Spec.Process.ApparmorProfile); err != nil {
		return nil, err
	}
	out := &prepared{plan: cp}
	out.prog, out.flags, err = s.filter(cp)
	return out, err
}

// podFacts is what the pod has to share with the container of config.
func (s *Server) podFacts(p *pod, config *runtimeapi.ContainerConfig) (*plan.PodFacts, error) {
	var err error
	r := p.rec.Load()
	dir := s.records.PodDir(p.id)
	f := &plan.PodFacts{
		ID:           p.id,
		CgroupParent: r.CgroupParent, Hostname: plan.PodHostname(r.Config), Shm: "/dev/shm",
		ResolvConf: dir + "/resolv.conf", Hosts: dir + "/hosts", HostnameFile: dir + "/hostname",
	}
	if r.Pins.Net {
		f.NetNS = dir + "/ns/net"
	}
	if r.Pins.IPC {
		f.IPCNS, f.Shm = dir+"/ns/ipc", shm.Dir(dir)
	}
	if r.Pins.UTS {
		f.UTSNS = dir + "/ns/uts"
	} else if f.Hostname, err = os.Hostname(); err != nil {
		return nil, err
	}
	if r.Pins.User {
		f.UserNS, f.UserNSPath = plan.UserNamespaceOf(r.Config), dir+"/ns/user"
	}
	if r.PausePID != 0 {
		f.PIDNS = pidNS(r.PausePID)
	}
	opt := config.GetLinux().GetSecurityContext().GetNamespaceOptions()
	if opt.GetPid() == runtimeapi.NamespaceMode_TARGET {
		const field = "config.linux.security_context.namespace_options.target_id"
		t, err := s.table.findContainer(opt.GetTargetId())
		if err != nil {
			return nil, invalid(field, "%v", err)
		}
		tr := t.rec.Load()
		if t.pod != p {
			return nil, invalid(field, "container %s is not in this pod", t.id)
		}
		if err := tr.CheckRunning("share its processes"); err != nil {
			return nil, err
		}
		f.TargetPIDNS = pidNS(tr.PID)
	}
	return f, nil
}

func pidNS(pid int) string { return fmt.Sprintf("/proc/%d/ns/pid", pid) }

const seccompField = "config.linux.security_context.seccomp"

// filter finds and compiles the container's seccomp profile.
func (s *Server) filter(cp *plan.ContainerPlan) (prog []byte, flags uint32, err error) {
	var profile *specs.LinuxSeccomp
	switch c := cp.Seccomp; {
	case c.Kind == plan.SeccompUnconfined || c.Kind == "":
		return nil, 0, nil
	case c.Path != "":
		profile, err = seccomp.Localhost(c.Path)
	default:
		profile, err = s.seccomp.Default(cp.Spec)
	}
	if err != nil {
		return nil, 0, invalid(seccompField, "%v", err)
	}
	prog, flags, err = s.seccomp.Program(profile)
	if err != nil {
		return nil, 0, invalid(seccompField, "%s %s: %v", cp.Seccomp.Kind, cp.Seccomp.Path, err)
	}
	return prog, flags, nil
}

// wantsShm says whether the container mounts the pod's own /dev/shm.
func wantsShm(spec *specs.Spec, podDir string) bool {
	for _, m := range spec.Mounts {
		if m.Source == shm.Dir(podDir) {
			return true
		}
	}
	return false
}

// sharesPID says whether the container's processes may outlive its first one:
// they do unless that is the init of a namespace of its own.
func sharesPID(pod *record.Pod, rec *record.Container) bool {
	return plan.PIDMode(rec.Config, pod.Config) != runtimeapi.NamespaceMode_CONTAINER
}

// planOf returns what Create has planned, or plans anew after a restart.
func (s *Server) planOf(c *container) (*prepared, error) {
	if pr := c.ready.Load(); pr != nil {
		return pr, nil
	}
	rec := c.rec.Load()
	img, err := s.images.ImageOf(c.id)
	if errors.Is(err, imagestore.ErrNotFound) {
		return nil, notFound("image", strings.TrimPrefix(rec.ImageID, "sha256:"))
	}
	if err != nil {
		return nil, err
	}
	if !proto.Equal(rec.Resources, rec.Config.GetLinux().GetResources()) { // updated since
		rec = rec.Clone()
		rec.Config = proto.CloneOf(rec.Config)
		if rec.Config.Linux == nil {
			rec.Config.Linux = &runtimeapi.LinuxContainerConfig{}
		}
		rec.Config.Linux.Resources = rec.Resources
	}
	return s.prepare(c.pod, rec, img)
}
