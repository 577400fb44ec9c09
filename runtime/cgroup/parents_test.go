package cgroup

import (
	"errors"
	"fmt"
)

// ensureParents makes the group at name, and those above it, where missing, as
// Create makes them on its way.
func ensureParents(name string) error {
	g := Open(name)
	if err := g.check("create"); err != nil {
		return err
	}
	var made made
	for i, dir := range g.v1 {
		if err := made.parents(dir, g.host.v1[i].mount, i == g.host.cpusetIndex()); err != nil {
			return errors.Join(fmt.Errorf("cgroup %s: %w", g.path, err), made.undo())
		}
	}
	if g.v2 != "" {
		if err := made.parents(g.v2, g.host.v2, false); err != nil {
			return errors.Join(fmt.Errorf("cgroup %s: %w", g.path, err), made.undo())
		}
	}
	return nil
}
