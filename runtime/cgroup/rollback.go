package cgroup

import (
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/cgroups"
)

// saved is the contents of a limit's file.
type saved struct{ dir, file, value string }

// snapshot is the limits before an update, in the order in which they are set.
type snapshot []saved

// add notes a file; one that is not there cannot be changed either.
func (s *snapshot) add(dir, file string) {
	if value, err := readFile(dir, file); err == nil {
		*s = append(*s, saved{dir, file, value})
	}
}

// snapshot reads what apply(r) may change.
func (g *Group) snapshot(r *cgroups.Resources) snapshot {
	var s snapshot
	if g.host.mode == V2 {
		for _, file := range v2Files(r) {
			s.add(g.v2, file)
		}
		return s
	}
	for _, l := range v1Limits {
		if dir := g.v1Dir(l.controller); dir != "" && l.asked(r) {
			for _, file := range l.files {
				s.add(dir, file)
			}
		}
	}
	for _, l := range r.HugetlbLimit {
		if dir := g.v1Dir("hugetlb"); dir != "" {
			s.add(dir, "hugetlb."+l.Pagesize+".limit_in_bytes")
			s.add(dir, "hugetlb."+l.Pagesize+".rsvd.limit_in_bytes")
		} else if g.v2 != "" {
			s.add(g.v2, "hugetlb."+l.Pagesize+".max")
			s.add(g.v2, "hugetlb."+l.Pagesize+".rsvd.max")
		}
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
	for key := range r.Unified {
		if !slices.Contains(files, key) {
			files = append(files, key)
		}
	}
	return files
}

// restore writes the values back, last first. Some depend on each other
// (memory and memory plus swap, quota and period): what is refused at first is
// tried again when the others are in place.
func (s snapshot) restore() error {
	var errs []error
	for range 2 {
		errs = nil
		for i := len(s) - 1; i >= 0; i-- {
			if err := s[i].restore(); err != nil {
				errs = append(errs, err)
			}
		}
		if errs == nil {
			return nil
		}
	}
	return fmt.Errorf("restore limits: %w", errors.Join(errs...))
}

func (v saved) restore() error {
	now, err := readFile(v.dir, v.file)
	if err != nil || now == v.value {
		return err
	}
	text := v.value
	if text == "" {
		text = "\n" // an empty cpuset: a write of no bytes does nothing
	}
	return writeFile(v.dir, v.file, text)
}
