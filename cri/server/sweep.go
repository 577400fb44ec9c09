package server

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"k8s.io/klog/v2"

	"github.com/varve-cri/varve/cri/record"
	"github.com/varve-cri/varve/cri/shm"
	"github.com/varve-cri/varve/runtime/cgroup"
	"github.com/varve-cri/varve/runtime/namespace"
	"github.com/varve-cri/varve/shim"
)

// setAside deals with a directory whose record cannot be read: one that has
// none is half-made and goes, with what it may hold; a bad one is moved out of the
// way, for people to look at.
func (s *Server) setAside(b record.Bad) {
	dir := filepath.Dir(b.Path)
	if b.Kind == "pod" {
		if err := errors.Join(namespace.Unpin(dir+"/ns"), shm.Remove(dir)); err != nil {
			klog.ErrorS(err, "Bad record holds on to namespaces", "path", b.Path)
		}
	}
	if client, err := shim.Dial(context.Background(), dir); err == nil {
		// What runs there is nobody's: the kubelet will start it anew.
		_ = errors.Join(client.Shutdown(context.Background()), client.Close())
	}
	if errors.Is(b.Err, record.ErrNoRecord) {
		klog.InfoS("Directory without a record is removed", "path", dir)
		if err := os.RemoveAll(dir); err != nil {
			klog.ErrorS(err, "Directory without a record is not removed", "path", dir)
		}
		return
	}
	klog.ErrorS(b.Err, "Bad record is set aside", "path", b.Path)
	bad := filepath.Join(s.cfg.StateDir, "bad")
	err := os.MkdirAll(bad, 0o700)
	if err == nil {
		err = os.Rename(dir, filepath.Join(bad, b.Kind+"-"+b.ID+"-"+time.Now().UTC().Format("20060102T150405.000")))
	}
	if err != nil {
		klog.ErrorS(err, "Bad record is not set aside", "path", b.Path)
	}
}

// leftovers is what was there when the daemon started, by owner. What no record
// owns of it is removed; what is made later has other ids and is safe.
type leftovers struct {
	layers []string // read-write layers, by container
	owed   []string // network detaches, by pod
	groups []string // cgroups of pods below our own parents
}

func (s *Server) survey() leftovers {
	l := leftovers{layers: s.images.ListRW()}
	for _, parent := range s.cfg.CgroupParents() {
		l.groups = append(l.groups, ownGroups(parent)...)
	}
	var err error
	if l.owed, err = s.net.Owed(); err != nil {
		klog.ErrorS(err, "Network duties are not read")
	}
	return l
}

var idPattern = regexp.MustCompile(`^[0-9a-f]{64}$`)

// ownGroups lists the pods' groups below a parent that is ours alone.
func ownGroups(parent string) []string {
	g := cgroup.Open(parent)
	seen := map[string]bool{}
	var ids []string
	for _, dir := range append(g.V1Paths(), g.V2Path()) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue // no pod has been there yet
		}
		for _, e := range entries {
			if id := e.Name(); e.IsDir() && idPattern.MatchString(id) && !seen[id] {
				seen[id] = true
				ids = append(ids, parent+"/"+id)
			}
		}
	}
	return ids
}

// sweep removes what no record owns.
func (s *Server) sweep(ctx context.Context, l leftovers) {
	for _, id := range l.layers {
		if _, ok := s.table.containers.Load(id); ok {
			continue
		}
		klog.InfoS("Layer without a container is removed", "containerID", id)
		if err := s.images.RemoveRW(id); err != nil {
			klog.ErrorS(err, "Layer without a container is not removed", "containerID", id)
		}
	}
	for _, path := range l.groups {
		id := filepath.Base(path)
		if _, ok := s.table.pods.Load(id); ok {
			continue
		}
		klog.InfoS("Cgroup without a pod is removed", "podID", id)
		g := cgroup.Open(path)
		if err := errors.Join(g.Kill(), g.Remove()); err != nil {
			klog.ErrorS(err, "Cgroup without a pod is not removed", "podID", id)
		}
	}
	for _, id := range l.owed {
		if v, ok := s.table.pods.Load(id); ok && v.(*pod).rec.Load().Owes(record.DutyNetwork) { //nolint:forcetypeassert // *pod only
			continue
		}
		s.repay(ctx, id)
	}
}

// repay detaches a pod that is gone, now or later.
func (s *Server) repay(ctx context.Context, id string) {
	ctx, cancel := context.WithTimeout(ctx, s.conf().Requests.NetworkTimeout.Std())
	defer cancel()
	if err := s.net.Detach(ctx, id); err != nil {
		klog.ErrorS(err, "Network detach is tried again later", "podID", id)
		s.debts.Owe(id)
	}
}

// collect has the network plugins free what belongs to no pod. It must not run
// beside an attach (CNI 1.1, GC), so that attaches wait for settled.
func (s *Server) collect() {
	defer close(s.settled)
	var valid []string
	s.table.eachPod(func(p *pod) {
		if p.rec.Load().Owes(record.DutyNetwork) {
			valid = append(valid, p.id)
		}
	})
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := s.net.Collect(ctx, valid); err != nil {
		klog.ErrorS(err, "Network garbage is left")
	}
}
