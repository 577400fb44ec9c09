package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"

	"github.com/opencontainers/cgroups"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Saved is limits as they were before an update, in the order in which they are
// set. It can be kept in a file, so that whoever comes after a crash in the
// middle of an update can take it back.
type Saved []SavedLimit

// SavedLimit is the contents of one limit's file.
type SavedLimit struct {
	Controller string `json:"controller,omitempty"` // of v1; "" is the v2 hierarchy
	File       string `json:"file"`
	Value      string `json:"value"`
}

// Save reads the limits that Set(res) may change.
func (g *Group) Save(res *specs.LinuxResources) (Saved, error) {
	if err := g.check("save limits"); err != nil {
		return nil, err
	}
	r, err := g.convert(res)
	if err != nil {
		return nil, fmt.Errorf("cgroup %s: %w", g.path, err)
	}
	return g.save(r), nil
}

// Restore writes saved limits back, last first. Some depend on each other
// (memory and memory plus swap, quota and period): what is refused at first is
// tried again when the others are in place. A group that is gone has nothing to
// be restored.
func (g *Group) Restore(s Saved) error {
	if err := g.check("restore limits"); err != nil {
		return err
	}
	var errs []error
	for range 2 {
		errs = nil
		for _, l := range slices.Backward(s) {
			if err := g.restore(l); err != nil && !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, err)
			}
		}
		if errs == nil {
			return nil
		}
	}
	return fmt.Errorf("cgroup %s: restore limits: %w", g.path, errors.Join(errs...))
}

func (g *Group) restore(l SavedLimit) error {
	dir := g.v2
	if l.Controller != "" {
		dir = g.v1Dir(l.Controller)
	}
	if dir == "" {
		return nil // the machine was booted with other hierarchies: the group is another
	}
	now, err := readFile(dir, l.File)
	if err != nil || now == l.Value {
		return err
	}
	if n, nerr := strconv.ParseInt(l.Value, 10, 64); l.File == "memory.max" && nerr == nil {
		if err := g.makeRoom(n); err != nil {
			return err // rather too high a limit than a killed process
		}
	}
	text := l.Value
	if text == "" {
		text = "\n" // an empty cpuset: a write of no bytes does nothing
	}
	return writeFile(dir, l.File, text)
}

// add notes a file; one that is not there cannot be changed either.
func (g *Group) add(s *Saved, controller, file string) {
	dir := g.v2
	if controller != "" {
		dir = g.v1Dir(controller)
	}
	if dir == "" {
		return
	}
	if value, err := readFile(dir, file); err == nil {
		*s = append(*s, SavedLimit{controller, file, value})
	}
}

// save reads what apply(r) may change.
func (g *Group) save(r *cgroups.Resources) Saved {
	var s Saved
	if g.host.mode == V2 {
		for _, file := range v2Files(r) {
			g.add(&s, "", file)
		}
		return s
	}
	for _, l := range v1Limits {
		if l.asked(r) {
			for _, file := range l.files {
				g.add(&s, l.controller, file)
			}
		}
	}
	for _, l := range r.HugetlbLimit {
		if g.v1Dir("hugetlb") != "" {
			g.add(&s, "hugetlb", "hugetlb."+l.Pagesize+".limit_in_bytes")
			g.add(&s, "hugetlb", "hugetlb."+l.Pagesize+".rsvd.limit_in_bytes")
			continue
		}
		g.add(&s, "", "hugetlb."+l.Pagesize+".max")
		g.add(&s, "", "hugetlb."+l.Pagesize+".rsvd.max")
	}
	for _, key := range sortedKeys(r.Unified) {
		g.add(&s, "", key)
	}
	return s
}

// v2Files names the files that the library writes on v2.
func v2Files(r *cgroups.Resources) []string {
	files := []string{
		"pids.max", "memory.swap.max", "memory.max", "memory.low", "io.weight", "io.bfq.weight",
		"cpu.idle", "cpu.weight", "cpu.max", "cpu.max.burst", "cpuset.cpus", "cpuset.mems",
	}
	for _, l := range r.HugetlbLimit {
		files = append(files, "hugetlb."+l.Pagesize+".max", "hugetlb."+l.Pagesize+".rsvd.max")
	}
	for _, key := range sortedKeys(r.Unified) {
		if !slices.Contains(files, key) {
			files = append(files, key)
		}
	}
	return files
}
