package config

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/moby/sys/capability"
)

// Runtime is the runtime handlers.
type Runtime struct {
	// Handlers are the names that a RuntimeClass may ask for; the handler named
	// "" is always there and is the default.
	Handlers map[string]Handler `json:"handlers,omitempty"`
}

// Handler is what is different for the pods of one runtime handler. A field that
// is not there is as everywhere on the node.
type Handler struct {
	// Seccomp replaces the node's seccomp settings.
	Seccomp *Seccomp `json:"seccomp,omitempty"`
	// Rlimits are added to the node's, by name.
	Rlimits map[string]Rlimit `json:"rlimits,omitempty"`
	// DefaultCapabilities are what a container has that asks for nothing ("CHOWN",
	// "NET_RAW"); requests add to them and drop from them. [] is none; without the
	// field they are the 14 that images are built for.
	DefaultCapabilities []string `json:"defaultCapabilities,omitzero"`
	// Cgroup says how the pods' cgroups lie.
	Cgroup HandlerCgroup `json:"cgroup,omitzero"`
	// LayerFormat is that of the images that are pulled for the handler, as
	// images.format; an image that is there already keeps its own.
	LayerFormat string `json:"layerFormat,omitempty"`
}

// HandlerCgroup says how the cgroups of a handler's pods lie.
type HandlerCgroup struct {
	// Group is a group of its own below cgroup.parent for pods whose request
	// names no parent, so that they can be limited together.
	Group string `json:"group,omitempty"`
	// Writable mounts a container's own cgroup writable, for programs that make
	// groups themselves. Where cgroup2 is not mounted with nsdelegate, and on
	// cgroup v1, such a container can change its own limits: it is for pods that
	// are trusted with them.
	Writable bool `json:"writable,omitempty"`
}

// Handler returns the settings of a runtime handler, the node's filled in
// where the handler has none of its own, and whether there is such a handler.
// The handler named "" always is there.
func (c *Config) Handler(name string) (Handler, bool) {
	h, ok := c.Runtime.Handlers[name]
	if !ok && name != "" {
		return Handler{}, false
	}
	if h.Seccomp == nil {
		h.Seccomp = &c.Seccomp
	}
	if len(h.Rlimits) == 0 {
		h.Rlimits = c.Limits.Rlimits
		return h, true
	}
	merged := make(map[string]Rlimit, len(h.Rlimits)+len(c.Limits.Rlimits))
	for k, v := range c.Limits.Rlimits {
		merged[k] = v
	}
	for k, v := range h.Rlimits {
		merged[k] = v
	}
	h.Rlimits = merged
	return h, true
}

// HandlerNames returns the names of all handlers, "" first, then in order.
func (c *Config) HandlerNames() []string {
	names := []string{""}
	for _, name := range sortedKeys(c.Runtime.Handlers) {
		if name != "" {
			names = append(names, name)
		}
	}
	return names
}

func (c *Config) completeHandlers() {
	for name, h := range c.Runtime.Handlers {
		if h.Seccomp != nil {
			own := *h.Seccomp
			set(&own.UnsetProfile, c.Seccomp.UnsetProfile)
			h.Seccomp = &own
			c.Runtime.Handlers[name] = h
		}
	}
}

// handlerName is what a RuntimeClass can name (a DNS label), or the default.
var handlerName = regexp.MustCompile(`^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)?$`)

func (c *Config) validateRuntime() error {
	for _, name := range sortedKeys(c.Runtime.Handlers) {
		field := fmt.Sprintf("runtime.handlers[%q]", name)
		if !handlerName.MatchString(name) {
			return invalid(field, "no RuntimeClass can name it: it is not made of a-z, 0-9 and - alone")
		}
		if err := c.Runtime.Handlers[name].validate(field); err != nil {
			return err
		}
	}
	return c.Seccomp.validate("seccomp")
}

func (h Handler) validate(field string) error {
	if h.Seccomp != nil {
		if err := h.Seccomp.validate(field + ".seccomp"); err != nil {
			return err
		}
	}
	if err := validateRlimits(field+".rlimits", h.Rlimits); err != nil {
		return err
	}
	seen := map[string]bool{}
	for i, name := range h.DefaultCapabilities {
		field := fmt.Sprintf("%s.defaultCapabilities[%d]", field, i)
		switch known, ok := Capability(name); {
		case !ok:
			return invalid(field, "%q is not a capability", name)
		case seen[known]:
			return invalid(field, "%s is there twice", known)
		default:
			seen[known] = true
		}
	}
	if g := h.Cgroup.Group; strings.ContainsAny(g, "/\x00\n") || g == "." || g == ".." || len(g) > 255 {
		return invalid(field+".cgroup.group", "%q is not the name of a directory", g)
	} else if podGroup.MatchString(g) {
		return invalid(field+".cgroup.group", "%q could be a pod's", g)
	}
	switch h.LayerFormat {
	case "", FormatErofs, FormatOverlay:
		return nil
	}
	return invalid(field+".layerFormat", "%q is neither %s nor %s", h.LayerFormat, FormatErofs, FormatOverlay)
}

// podGroup is what the groups of pods are named.
var podGroup = regexp.MustCompile(`^[0-9a-f]{64}$`)

// Capability gives the name of a capability in the form "CAP_CHOWN", whether or
// not it has the prefix and in whatever case it is, and whether Linux has it.
func Capability(name string) (string, bool) {
	name = "CAP_" + strings.TrimPrefix(strings.ToUpper(name), "CAP_")
	return name, knownCapabilities[name]
}

var knownCapabilities = func() map[string]bool {
	known := map[string]bool{}
	for _, c := range capability.ListKnown() {
		known["CAP_"+strings.ToUpper(c.String())] = true
	}
	return known
}()

// CgroupParent is where the pods of a handler go whose request names no parent.
func (c *Config) CgroupParent(h Handler) string {
	if h.Cgroup.Group == "" {
		return c.Cgroup.Parent
	}
	return c.Cgroup.Parent + "/" + h.Cgroup.Group
}

// CgroupParents are all that CgroupParent can be, the node's first.
func (c *Config) CgroupParents() []string {
	parents := []string{c.Cgroup.Parent}
	for _, name := range sortedKeys(c.Runtime.Handlers) {
		if p := c.CgroupParent(c.Runtime.Handlers[name]); !contains(parents, p) {
			parents = append(parents, p)
		}
	}
	return parents
}
