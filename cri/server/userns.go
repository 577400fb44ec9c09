package server

import (
	"fmt"
	"os"
	"sync"

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

// tryUserNamespaces says why this node can have no pods with user namespaces;
// nil when it can. It is asked of the kernel, once, by making one and mounting a
// root for it.
func tryUserNamespaces(images *imagestore.Store) func() error {
	return sync.OnceValue(func() error {
		const first = 1 << 16 // any id that is not 0
		ids := []idmap.Range{{Outside: first, Length: 1 << 16}}
		f, err := idmap.Namespace(ids, ids)
		if err != nil {
			return err
		}
		defer f.Close()
		return images.TryOwners(&imagestore.Owners{Namespace: f, UID: first, GID: first})
	})
}
