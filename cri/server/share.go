package server

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/plan"
	rtplan "github.com/varve-cri/varve/runtime/plan"
	"github.com/varve-cri/varve/shim"
)

// share opens the PID namespace of another process that the container joins,
// and proves that it is that process's. A PID alone proves nothing: it may
// belong to somebody else by now. A shim reaps its process before it says that
// it has exited, so that the number was not free while we opened the file as
// long as the shim says, after that, that its process is there.
func (r *start) share(ctx context.Context) error {
	rec, p := r.c.rec.Load(), r.c.pod
	switch plan.PIDMode(rec.Config, p.rec.Load().Config) {
	case runtimeapi.NamespaceMode_POD:
		return r.open(ctx, "pause process", r.s.pauseDir(p), p.rec.Load().PausePID, p.pause.Load())
	case runtimeapi.NamespaceMode_TARGET:
		t, err := r.s.table.findContainer(rec.Config.GetLinux().GetSecurityContext().GetNamespaceOptions().GetTargetId())
		if err != nil {
			return coded(codes.FailedPrecondition, "target: %w", err)
		}
		tr := t.rec.Load()
		if err := tr.CheckRunning("share its processes"); err != nil {
			return err
		}
		return r.open(ctx, "target "+t.id, r.s.records.ContainerDir(t.id), tr.PID, t.client.Load())
	default:
		return nil
	}
}

// open opens the PID namespace of pid and asks its shim, which it finds by
// itself while a daemon that has just started has not adopted it.
func (r *start) open(ctx context.Context, whose, dir string, pid int, client *shim.Client) error {
	f, err := os.Open(pidNS(pid))
	if errors.Is(err, os.ErrNotExist) {
		return coded(codes.FailedPrecondition, "%s: has exited", whose)
	}
	if err != nil {
		return err
	}
	if client == nil {
		if client, err = shim.Dial(ctx, dir); err == nil {
			defer client.Close() //nolint:errcheck // nothing was changed through it
		}
	}
	var st shim.State
	if err == nil {
		st, err = client.State(ctx)
	}
	switch {
	case errors.Is(err, shim.ErrExited), errors.Is(err, shim.ErrGone), err == nil && st.Exited:
		err = coded(codes.FailedPrecondition, "%s: has exited", whose)
	case err == nil && st.PID != pid:
		err = coded(codes.FailedPrecondition, "%s: process %d is another one", whose, pid)
	case err != nil:
		err = fmt.Errorf("%s: %w", whose, err)
	}
	if err != nil {
		_ = f.Close()
		return err
	}
	r.pidns = f
	return nil
}

// nameByFile makes the shim open the very namespace that we hold open.
func nameByFile(p *rtplan.Plan, f *os.File) {
	for i := range p.Namespaces {
		if ns := &p.Namespaces[i]; ns.Type == unix.CLONE_NEWPID {
			ns.Path = fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), f.Fd())
		}
	}
}
