package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/network"
	"github.com/varve-cri/varve/cri/plan"
	"github.com/varve-cri/varve/cri/record"
	"github.com/varve-cri/varve/cri/step"
	"github.com/varve-cri/varve/runtime/namespace"
)

// RunPodSandbox makes a pod. A retry joins the request that still runs, or
// gets the pod that it has made.
func (s *Server) RunPodSandbox(ctx context.Context, req *runtimeapi.RunPodSandboxRequest) (*runtimeapi.RunPodSandboxResponse, error) {
	if err := plan.CheckHandler("runtime_handler", req.GetRuntimeHandler(), s.conf()); err != nil {
		return nil, err
	}
	pl, err := plan.Pod(req.GetConfig(), req.GetRuntimeHandler(), s.conf())
	if err != nil {
		return nil, err
	}
	limits, err := s.limitsOf(req.GetConfig(), pl.OwnCgroup)
	if err != nil {
		return nil, err
	}
	if pl.UserNS != nil {
		if err := s.userns.check(); err != nil {
			return nil, coded(codes.FailedPrecondition, "this node has no user namespaces for pods: %w", err)
		}
	}
	id := newID()
	rec := &record.Pod{
		ID: id, Handler: pl.Handler, CreatedAt: time.Now().UnixNano(), State: record.PodPreparing,
		Config: req.GetConfig(), Pins: record.Pins{Net: pl.Net, IPC: pl.IPC, UTS: pl.UTS, User: pl.UserNS != nil},
		CgroupParent: pl.Cgroup(id), OwnCgroup: pl.OwnCgroup,
	}
	key := podKey(rec)
	op := step.Op{Verb: "RunPodSandbox", Object: podName(rec.Config.GetMetadata()), ID: rec.ID}
	id, err = s.join(ctx, op, 0, key, func(ctx context.Context) (string, error) {
		if v, ok := s.table.podNames.Load(key); ok {
			return samePod(v.(*pod).rec.Load(), rec) //nolint:forcetypeassert // *pod only
		}
		r := &podRun{s: s, plan: pl, limits: limits, pod: newPod(rec), dir: s.records.PodDir(rec.ID)}
		return rec.ID, r.run(ctx, op)
	})
	if err == nil && id != rec.ID { // joined: perhaps one that wants something else
		if v, ok := s.table.pods.Load(id); ok {
			_, err = samePod(v.(*pod).rec.Load(), rec) //nolint:forcetypeassert // *pod only
		}
	}
	if err != nil {
		return nil, err
	}
	return &runtimeapi.RunPodSandboxResponse{PodSandboxId: id}, nil
}

// samePod answers a request for a pod that exists: its id when it is ready
// and was asked for in the same words.
func samePod(have, want *record.Pod) (string, error) {
	name := podName(have.Config.GetMetadata())
	switch {
	case have.State != record.PodReady:
		return "", coded(codes.AlreadyExists, "pod %s: exists as %s and is %s; remove it or ask for another attempt", name, have.ID, have.State)
	case have.Handler != want.Handler || !proto.Equal(have.Config, want.Config):
		return "", coded(codes.AlreadyExists, "pod %s: exists as %s with another configuration", name, have.ID)
	}
	return have.ID, nil
}

// podRun is one run of RunPodSandbox. Its methods are the steps.
type podRun struct {
	s      *Server
	plan   *plan.PodPlan
	limits *specs.LinuxResources // of its own cgroup; nil with none
	pod    *pod
	dir    string
	net    record.Network
}

func (r *podRun) run(ctx context.Context, op step.Op) error {
	steps := []step.Step{
		{Name: "record", Do: r.record, Undo: func(context.Context) error { return r.s.forgetPod(r.pod) }},
		{Name: "namespaces", Do: r.pin, Undo: func(context.Context) error { return namespace.Unpin(r.nsDir()) }},
	}
	if r.limits != nil || r.plan.Pause { // the pause process's cgroup brings the pod's with it
		steps = append(steps, step.Step{Name: "cgroup", Do: r.limit, Undo: r.unlimit})
	}
	if r.plan.Net {
		// Two steps: DEL is owed as soon as ADD has begun, whether or not it
		// came to its end.
		steps = append(steps, step.Step{Name: "network detach", Undo: r.detach}, step.Step{Name: "network", Do: r.attach})
	}
	steps = append(steps, step.Step{Name: "files", Do: r.files})
	if r.plan.Pause {
		steps = append(steps, step.Step{Name: "pause", Do: r.pause, Undo: func(ctx context.Context) error { return r.s.stopPause(ctx, r.pod) }})
	}
	steps = append(steps, step.Step{Name: "ready", Do: r.ready})
	return r.s.steps.Run(ctx, op, steps)
}

func (r *podRun) nsDir() string { return r.dir + "/ns" }

// record writes the pod down together with all that it may come to owe, so
// that a crash from here on finds its way back.
func (r *podRun) record(context.Context) error {
	rec := r.pod.rec.Load()
	rec.Owe(record.DutyNamespaces, "")
	if r.plan.Net {
		rec.Owe(record.DutyNetwork, "")
	}
	if r.plan.OwnCgroup {
		rec.Owe(record.DutyCgroup, rec.CgroupParent)
	}
	if r.plan.Pause {
		rec.Owe(record.DutyPause, "")
	}
	return r.s.records.SavePod(rec)
}

func (r *podRun) pin(context.Context) error {
	spec := namespace.Spec{
		Net: r.plan.Net, IPC: r.plan.IPC, UTS: r.plan.UTS, User: userSpec(r.plan.UserNS),
		Hostname: r.plan.Hostname, Sysctls: r.plan.Sysctls,
	}
	if !spec.Net && !spec.IPC && !spec.UTS && spec.User == nil {
		return nil
	}
	err := r.s.spaces.Pin(r.nsDir(), spec)
	var bad *namespace.SysctlError
	if errors.As(err, &bad) && (errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL) || errors.Is(err, namespace.ErrSysctl)) {
		return invalid("config.linux.sysctls["+bad.Key+"]", "%v", bad.Err)
	}
	return err
}

func (r *podRun) attach(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, r.s.conf().Requests.NetworkTimeout.Std(),
		fmt.Errorf("plugins took longer than %v: %w", r.s.conf().Requests.NetworkTimeout.Std(), context.DeadlineExceeded))
	defer cancel()
	select {
	case <-r.s.settled:
	case <-ctx.Done():
		return fmt.Errorf("wait for the network's garbage collection: %w", context.Cause(ctx))
	}
	rec := r.pod.rec.Load()
	m, cfg := rec.Config.GetMetadata(), rec.Config
	p := network.Pod{
		ID: rec.ID, Name: m.GetName(), Namespace: m.GetNamespace(), UID: m.GetUid(),
		NetNS: r.nsDir() + "/net", CgroupParent: rec.CgroupParent, Annotations: cfg.GetAnnotations(),
	}
	for _, pm := range r.plan.PortMappings {
		p.Ports = append(p.Ports, network.Port(pm))
	}
	if d := cfg.GetDnsConfig(); d != nil {
		p.DNS = &network.DNS{Servers: d.GetServers(), Searches: d.GetSearches(), Options: d.GetOptions()}
	}
	ips, err := r.s.net.Attach(ctx, p)
	if err != nil {
		return err
	}
	for _, ip := range ips {
		r.net.IPs = append(r.net.IPs, ip.String())
	}
	return nil
}

// detach undoes attach. What the plugins refuse now stays a duty and is tried
// again in the background; the pod itself can go.
func (r *podRun) detach(ctx context.Context) error {
	if err := r.s.net.Detach(ctx, r.pod.id); err != nil {
		r.pod.log(ctx).Error(err, "Network detach is tried again later")
		r.s.debts.Owe(r.pod.id)
	}
	return nil
}

func (r *podRun) files(context.Context) error {
	files := []struct {
		name    string
		content []byte
		host    string
	}{
		{"resolv.conf", r.plan.ResolvConf, "/etc/resolv.conf"},
		{"hostname", r.plan.HostnameFile, "/etc/hostname"},
		{"hosts", nil, "/etc/hosts"},
	}
	if r.plan.HostsFile {
		files[2].content = plan.Hosts(r.plan.Hostname, r.net.IPs)
	}
	for _, f := range files {
		if f.content == nil {
			b, err := os.ReadFile(f.host)
			if err != nil && !os.IsNotExist(err) {
				return err
			}
			f.content = b
		}
		if err := os.WriteFile(r.dir+"/"+f.name, f.content, 0o644); err != nil { //nolint:gosec // read by the container's users; the directory is 0700
			return err
		}
		if uid, gid := r.plan.UserNS.Owner(); uid != 0 || gid != 0 {
			if err := os.Chown(r.dir+"/"+f.name, int(uid), int(gid)); err != nil {
				return err
			}
		}
	}
	if r.plan.LogDir == "" {
		return nil
	}
	return os.MkdirAll(r.plan.LogDir, 0o755) //nolint:gosec // the kubelet's mode for log directories
}

// pause starts the process that is init of the pod's shared PID namespace.
func (r *podRun) pause(ctx context.Context) error { return r.s.startPause(ctx, r.pod) }

func (r *podRun) ready(context.Context) error {
	err := r.s.changePod(r.pod, mustSave, func(rec *record.Pod) error {
		rec.Network = r.net
		return rec.MarkReady()
	})
	if err != nil {
		return err
	}
	r.pod.lock <- struct{}{} // as in the creation of a container
	defer r.pod.lock.Release()
	r.s.table.addPod(r.pod)
	r.s.event(runtimeapi.ContainerEventType_CONTAINER_CREATED_EVENT, r.pod.id, r.pod)
	r.s.event(runtimeapi.ContainerEventType_CONTAINER_STARTED_EVENT, r.pod.id, r.pod)
	return nil
}
