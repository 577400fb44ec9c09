package server

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/plan"
	"github.com/varve-cri/varve/cri/record"
	"github.com/varve-cri/varve/runtime/cgroup"
	rtplan "github.com/varve-cri/varve/runtime/plan"
	"github.com/varve-cri/varve/shim"
)

// pauseDir is the state directory of the pod's pause process and its shim.
func (s *Server) pauseDir(p *pod) string { return s.records.PodDir(p.id) + "/pause" }

// pauseCgroup is a sibling of the containers' groups.
func pauseCgroup(r *record.Pod) string { return r.CgroupParent + "/" + r.ID }

// startPause starts the init of a shared PID namespace: the shim's built-in
// program, in a space with no file system at all.
func (s *Server) startPause(ctx context.Context, p *pod) error {
	rec := p.rec.Load()
	dir := s.pauseDir(p)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	group, err := cgroup.Create(pauseCgroup(rec), nil)
	if err != nil {
		return err
	}
	pl := &rtplan.Plan{
		ID:         p.id,
		Namespaces: []rtplan.Namespace{{Type: unix.CLONE_NEWNS}, {Type: unix.CLONE_NEWPID}, {Type: unix.CLONE_NEWCGROUP}},
		Cgroup:     rtplan.Cgroup{V1: group.V1Paths(), V2: group.V2Path()},
		Process:    rtplan.Process{Pause: true, Cwd: "/", Umask: -1, NoNewPrivs: true},
	}
	for name, kind := range map[string]rtplan.NamespaceType{"net": unix.CLONE_NEWNET, "ipc": unix.CLONE_NEWIPC, "uts": unix.CLONE_NEWUTS, "user": unix.CLONE_NEWUSER} {
		if pinned(rec.Pins, name) {
			pl.Namespaces = append(pl.Namespaces, rtplan.Namespace{Type: kind, Path: s.records.PodDir(p.id) + "/ns/" + name})
		}
	}
	if u := plan.UserNamespaceOf(rec.Config); u != nil {
		pl.Owner.UID, pl.Owner.GID = u.Owner()
		pl.Process.UserNS, pl.Process.HostUID = true, pl.Owner.UID
	}
	client, pid, err := s.launcher.Start(ctx, shim.StartRequest{Dir: dir, Plan: pl})
	if err != nil {
		return errors.Join(err, group.Remove())
	}
	next := rec.Clone()
	next.PausePID = pid
	p.rec.Store(next) // not shown to anyone yet; saved with the state Ready
	p.pause.Store(client)
	go s.watchPause(p, client)
	return nil
}

// watchPause marks the pod as not ready when its pause process dies: its
// namespace takes no process any more.
func (s *Server) watchPause(p *pod, client *shim.Client) {
	<-client.Done()
	if errors.Is(client.Err(), shim.ErrClosed) {
		return
	}
	err := s.changePod(p, tryToSave, func(r *record.Pod) error {
		if r.State != record.PodReady {
			return r.CheckStartable() // being stopped anyway
		}
		r.PausePID = 0
		return r.MarkStopped("its pause process has ended")
	})
	if err != nil {
		return
	}
	// Under the lock, and not once the pod is removed: its end must not be told
	// after that.
	locked, err := s.lockPod(context.Background(), p.id)
	if err != nil {
		return
	}
	defer locked.lock.Release()
	s.event(runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT, p.id, p)
}

// stopPause ends the pause process and removes its cgroup. It is idempotent.
func (s *Server) stopPause(ctx context.Context, p *pod) error {
	group := cgroup.Open(pauseCgroup(p.rec.Load()))
	if client := p.pause.Load(); client != nil {
		short, cancel := context.WithTimeout(ctx, killPatience)
		err := client.Shutdown(short)
		cancel()
		if err != nil && !errors.Is(err, shim.ErrExited) && !errors.Is(err, shim.ErrGone) {
			if err := errors.Join(group.Kill(), client.Kill()); err != nil {
				return fmt.Errorf("pause process: kill: %w", err)
			}
		}
		_ = client.Close()
		p.pause.Store(nil)
	} else if err := group.Kill(); err != nil {
		return fmt.Errorf("pause process: kill: %w", err)
	}
	if err := group.Remove(); err != nil {
		return fmt.Errorf("pause process: %w", err)
	}
	return nil
}

func pinned(p record.Pins, name string) bool {
	switch name {
	case "net":
		return p.Net
	case "ipc":
		return p.IPC
	case "uts":
		return p.UTS
	case "user":
		return p.User
	}
	return false
}
