package server

import (
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/varve-cri/varve/cri/plan"
	"github.com/varve-cri/varve/imagestore"
	"github.com/varve-cri/varve/runtime/idmap"
	"github.com/varve-cri/varve/runtime/namespace"
)

// userSpec is a pod's user namespace as package namespace makes it.
func userSpec(u *plan.UserNamespace) *namespace.User {
	if u == nil {
		return nil
	}
	return &namespace.User{UIDs: one(u.UID), GIDs: one(u.GID)}
}

func one(r plan.IDRange) []idmap.Range { return []idmap.Range{{Outside: r.Host, Length: r.Length}} }

// owners is whom the roots of a pod's containers belong to; nil without a user
// namespace. It is good until done is called.
func (s *Server) owners(p *pod) (as *imagestore.Owners, done func(), err error) {
	rec := p.rec.Load()
	if !rec.Pins.User {
		return nil, func() {}, nil
	}
	f, err := os.Open(s.records.PodDir(p.id) + "/ns/user")
	if err != nil {
		return nil, nil, fmt.Errorf("user namespace of the pod: %w", err)
	}
	as = &imagestore.Owners{Namespace: f}
	as.UID, as.GID = plan.UserNamespaceOf(rec.Config).Owner()
	return as, func() { _ = f.Close() }, nil
}

// usernsProbe knows whether this node can have pods with user namespaces. It asks
// the kernel, by making one and mounting a root for it. What it can it can for ever;
// what it cannot, for want of memory, disk or namespaces, may be otherwise soon.
type usernsProbe struct {
	try  func() error
	last atomic.Pointer[usernsAnswer]
}

type usernsAnswer struct {
	err error
	at  time.Time
}

// usernsPatience is how long a failure is believed.
const usernsPatience = time.Minute

// check says why not; nil when it can. Two at the same time both try, rather than
// one waiting for the other.
func (p *usernsProbe) check() error {
	if a := p.last.Load(); a != nil && (a.err == nil || time.Since(a.at) < usernsPatience) {
		return a.err
	}
	a := &usernsAnswer{err: p.try(), at: time.Now()}
	p.last.Store(a)
	return a.err
}

func newUsernsProbe(images *imagestore.Store) *usernsProbe {
	return &usernsProbe{try: func() error {
		const first = 1 << 16 // any id that is not 0
		ids := []idmap.Range{{Outside: first, Length: 1 << 16}}
		f, err := idmap.Namespace(ids, ids)
		if err != nil {
			return err
		}
		defer f.Close()
		return images.TryOwners(&imagestore.Owners{Namespace: f, UID: first, GID: first})
	}}
}
