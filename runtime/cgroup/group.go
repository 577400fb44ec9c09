package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"

	"github.com/opencontainers/cgroups"
	devices "github.com/opencontainers/cgroups/devices/config"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// ErrNoController is matched by errors about a limit whose controller the
// host does not offer.
var ErrNoController = errors.New("controller not available")

// errRoot keeps mistakes (an empty id joined to an empty parent) from acting
// on every process of the machine.
var errRoot = errors.New("the root cgroup is not a group of varve's")

// Group is one cgroup: the directories at one path in all hierarchies.
type Group struct {
	path string
	host *host
	v1   []string // in the order of host.v1
	v2   string
}

// Open returns the group at path. It does no input or output, and the group
// need not exist. ".." does not lead out of the hierarchies.
func Open(name string) *Group {
	return theHost().open(name)
}

func (h *host) open(name string) *Group {
	g := &Group{path: path.Clean("/" + name), host: h, v1: make([]string, len(h.v1))}
	for i, hier := range h.v1 {
		g.v1[i] = hier.mount + g.path
	}
	if h.v2 != "" {
		g.v2 = h.v2 + g.path
	}
	return g
}

// Path returns the group's name, the same in all hierarchies.
func (g *Group) Path() string { return g.path }

// V1Paths returns the group's directory in each v1 hierarchy.
func (g *Group) V1Paths() []string { return g.v1 }

// V2Path returns the group's directory in the v2 hierarchy, or "".
func (g *Group) V2Path() string { return g.v2 }

// v1Dir returns the group's directory in a controller's v1 hierarchy, or "".
func (g *Group) v1Dir(controller string) string {
	if i, ok := g.host.v1Index[controller]; ok {
		return g.v1[i]
	}
	return ""
}

// dirs returns the group's directories in all hierarchies.
func (g *Group) dirs() []string {
	if g.v2 == "" {
		return g.v1
	}
	return append(g.v1[:len(g.v1):len(g.v1)], g.v2)
}

// parent returns the group above g.
func (g *Group) parent() *Group { return g.host.open(path.Dir(g.path)) }

// check refuses what no call may touch.
func (g *Group) check(step string) error {
	if g.path == "/" {
		return fmt.Errorf("cgroup /: %s: %w", step, errRoot)
	}
	if g.host.mode == 0 {
		return fmt.Errorf("cgroup %s: %s: no cgroup file system is mounted", g.path, step)
	}
	return nil
}

// Create makes the group in all hierarchies and sets res. It is idempotent.
// Parents that are missing are made, and marked for RemoveParents. With res nil
// it only makes the directories; otherwise devices are denied unless
// res.Devices or the OCI runtimes' common list allows them. When it fails, it
// removes what it made.
func Create(name string, res *specs.LinuxResources) (*Group, error) {
	g := Open(name)
	if err := g.check("create"); err != nil {
		return nil, err
	}
	limits, err := g.convert(res)
	if err != nil {
		return nil, fmt.Errorf("cgroup %s: %w", g.path, err)
	}
	var made made
	if err := made.group(g); err != nil {
		return nil, errors.Join(fmt.Errorf("cgroup %s: %w", g.path, err), made.undo())
	}
	if res == nil {
		return g, nil
	}
	err = g.apply(limits)
	if err == nil {
		err = g.restrict(deviceRules(res.Devices), made)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("cgroup %s: %w", g.path, err), made.undo())
	}
	return g, nil
}

// restrict sets the device rules of a new container's group.
func (g *Group) restrict(rules []*devices.Rule, made made) error {
	dir := g.v1Dir("devices")
	if dir == "" || !slices.Contains(made, dir) || !onlyAllows(rules) {
		return g.apply(&cgroups.Resources{Devices: rules})
	}
	if err := setFreshDevices(dir, rules); err != nil {
		return fmt.Errorf("set devices: %w", err)
	}
	return nil
}

// Exists says whether the group has a directory in at least one hierarchy.
func (g *Group) Exists() bool {
	for _, dir := range g.dirs() {
		if unix.Access(dir, unix.F_OK) == nil {
			return true
		}
	}
	return false
}

// made is the directories that one call made, in order.
type made []string

// undo removes them again, children first.
func (m made) undo() error {
	var errs []error
	for i := len(m) - 1; i >= 0; i-- {
		if err := unix.Rmdir(m[i]); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, &os.PathError{Op: "rmdir", Path: m[i], Err: err})
		}
	}
	return errors.Join(errs...)
}

// group makes g in all hierarchies.
func (m *made) group(g *Group) error {
	for i, dir := range g.v1 {
		if err := m.dir(dir, g.host.v1[i].mount, i == g.host.cpusetIndex()); err != nil {
			return err
		}
	}
	if g.v2 == "" {
		return nil
	}
	if err := m.dir(g.v2, g.host.v2, false); err != nil {
		return err
	}
	if g.host.mode == V2 {
		return g.enable(g.host.v2Controllers)
	}
	return nil
}

// cpusetIndex is the place of cpuset's v1 hierarchy, or -1.
func (h *host) cpusetIndex() int {
	if i, ok := h.v1Index["cpuset"]; ok {
		return i
	}
	return -1
}

// dir makes one directory, and those above it where they are missing. Between
// the making of the parent and that of the child another pod's removal may
// take the parent away again; hence the retries.
func (m *made) dir(dir, mount string, cpuset bool) error {
	var err error
	for range 10 {
		err = m.try(dir, mount, cpuset)
		if !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENODEV) {
			break
		}
	}
	return err
}

func (m *made) try(dir, mount string, cpuset bool) error {
	err := unix.Mkdir(dir, 0o755)
	if err == unix.ENOENT && path.Dir(dir) != mount {
		if err := m.parents(path.Dir(dir), mount, cpuset); err != nil {
			return err
		}
		err = unix.Mkdir(dir, 0o755)
	}
	switch {
	case err == nil:
		*m = append(*m, dir)
	case err != unix.EEXIST:
		return &os.PathError{Op: "mkdir", Path: dir, Err: err}
	}
	if cpuset {
		return fillCpuset(dir, err != nil)
	}
	return nil
}

// parents makes a directory that is to be the parent of a group.
func (m *made) parents(dir, mount string, cpuset bool) error {
	before := len(*m)
	if err := m.dir(dir, mount, cpuset); err != nil {
		return err
	}
	if len(*m) > before && (*m)[len(*m)-1] == dir {
		mark(dir)
	}
	return nil
}

// fillCpuset gives a v1 cpuset the processors and memory nodes of its parent,
// unless it has some (look): no process can join an empty one. A parent that
// someone made and left empty is filled as well; the root's never is.
func fillCpuset(dir string, look bool) error {
	above := path.Dir(dir)
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		if look {
			if have, err := readFile(dir, file); err != nil || have != "" {
				if err != nil {
					return err
				}
				continue
			}
		}
		value, err := readFile(above, file)
		if err == nil && value == "" {
			if err = fillCpuset(above, true); err == nil {
				value, err = readFile(above, file)
			}
		}
		if err == nil {
			err = writeFile(dir, file, value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
