package harness

import (
	"os"
	"path/filepath"
	"strings"
)

// Limit reads a file of the container's cgroup, whichever hierarchy has it; of
// several names, v1's and v2's, the first that is there. A test fails when none is.
func (c *Container) Limit(names ...string) string { return c.h.groupFile(c.ID, names) }

// Limit is the same for the cgroup that varve made for the pod.
func (p *Pod) Limit(names ...string) string { return p.h.groupFile(p.ID, names) }

func (h *Test) groupFile(id string, names []string) string {
	h.T.Helper()
	for _, item := range h.Node.Take() {
		dir, ok := strings.CutPrefix(item, "cgroup ")
		if !ok || filepath.Base(dir) != id {
			continue
		}
		for _, name := range names {
			if body, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
				return strings.TrimSpace(string(body))
			}
		}
	}
	h.T.Fatalf("no %v in any cgroup of %s", names, id)
	return ""
}
