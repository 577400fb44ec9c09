package cgroup

// Dir returns the group's directory in a controller's v1 hierarchy, or "" where
// there is none. The controller "" stands for the v2 hierarchy.
func (g *Group) Dir(controller string) string {
	if controller == "" {
		return g.v2
	}
	return g.v1Dir(controller)
}
