package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/opencontainers/cgroups"
	v1 "github.com/opencontainers/cgroups/fs"
	"github.com/opencontainers/cgroups/fs2"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Set changes the limits that res holds and leaves the others as they are.
// When one cannot be set, the values before are written back, so that a group
// never keeps half of an update; per-device limits of block devices, and device
// rules, which come last, are not taken back. Devices are touched only when
// res.Devices is not empty; then the list is complete, as in Create. A memory
// limit below what is in use and cannot be freed is an *InUseError, and nothing
// is killed for it.
func (g *Group) Set(res *specs.LinuxResources) error {
	if err := g.check("set"); err != nil {
		return err
	}
	r, err := g.convert(res)
	if err != nil {
		return fmt.Errorf("cgroup %s: %w", g.path, err)
	}
	if res != nil && len(res.Devices) > 0 {
		r.SkipDevices, r.Devices = false, deviceRules(res.Devices)
	}
	if err := g.makeRoom(r.Memory); err != nil {
		return fmt.Errorf("cgroup %s: %w", g.path, err)
	}
	before := g.save(r)
	if err := g.apply(r); err != nil {
		return errors.Join(fmt.Errorf("cgroup %s: %w", g.path, g.inUse(r.Memory, err)), g.Restore(before))
	}
	return nil
}

// apply writes limits.
func (g *Group) apply(r *cgroups.Resources) error {
	if g.host.mode == V2 {
		return g.applyV2(r)
	}
	if err := g.fitSwap(r); err != nil {
		return err
	}
	for _, l := range v1Limits {
		if !l.asked(r) {
			continue
		}
		dir := g.v1Dir(l.controller)
		if dir == "" {
			if l.controller == "hugetlb" {
				if err := g.applyHugetlbV2(r); err != nil {
					return err
				}
				continue
			}
			return fmt.Errorf("set %s: %w", l.controller, ErrNoController)
		}
		if err := l.set(dir, r); err != nil {
			return fmt.Errorf("set %s: %w", l.controller, plain(err))
		}
	}
	return g.applyUnified(r.Unified)
}

// applyUnified sets what a hybrid host's v2 hierarchy has the controller of.
func (g *Group) applyUnified(unified map[string]string) error {
	if len(unified) == 0 {
		return nil
	}
	var controllers []string
	for key := range unified {
		c, _, _ := strings.Cut(key, ".")
		controllers = append(controllers, c)
	}
	slices.Sort(controllers)
	if err := g.enable(slices.Compact(controllers)); err != nil {
		return err
	}
	return setV2(g.v2, &cgroups.Resources{Unified: unified, SkipDevices: true})
}

// v1Limit is how the limits of one v1 controller are set.
type v1Limit struct {
	controller string
	asked      func(*cgroups.Resources) bool
	set        func(dir string, r *cgroups.Resources) error
	files      []string // to be read before, and written back if a later limit fails
}

// v1Limits in the order in which they are set. The library's own manager is
// not used here: it visits every controller for every update and shares one
// blkio object between all groups without a lock.
var v1Limits = []v1Limit{
	{"cpuset", func(r *cgroups.Resources) bool { return r.CpusetCpus != "" || r.CpusetMems != "" },
		(&v1.CpusetGroup{}).Set, []string{"cpuset.cpus", "cpuset.mems"}},
	{"memory", func(r *cgroups.Resources) bool {
		return r.Memory != 0 || r.MemorySwap != 0 || r.MemoryReservation != 0 || r.MemorySwappiness != nil || r.OomKillDisable
	}, (&v1.MemoryGroup{}).Set, []string{"memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.soft_limit_in_bytes", "memory.swappiness"}},
	{"cpu", func(r *cgroups.Resources) bool {
		return r.CpuShares != 0 || r.CpuQuota != 0 || r.CpuPeriod != 0 || r.CpuBurst != nil || r.CPUIdle != nil || r.CpuRtPeriod != 0 || r.CpuRtRuntime != 0
	}, (&v1.CpuGroup{}).Set, []string{"cpu.shares", "cpu.cfs_period_us", "cpu.cfs_quota_us", "cpu.cfs_burst_us"}},
	{"pids", func(r *cgroups.Resources) bool { return r.PidsLimit != nil }, (&v1.PidsGroup{}).Set, []string{"pids.max"}},
	{"blkio", func(r *cgroups.Resources) bool {
		return r.BlkioWeight != 0 || r.BlkioLeafWeight != 0 || len(r.BlkioWeightDevice)+len(r.BlkioThrottleReadBpsDevice)+len(r.BlkioThrottleWriteBpsDevice)+
			len(r.BlkioThrottleReadIOPSDevice)+len(r.BlkioThrottleWriteIOPSDevice) > 0
	}, setBlkio, []string{"blkio.weight", "blkio.bfq.weight"}},
	{"hugetlb", func(r *cgroups.Resources) bool { return len(r.HugetlbLimit) > 0 }, (&v1.HugetlbGroup{}).Set, nil},
	{"net_cls", func(r *cgroups.Resources) bool { return r.NetClsClassid != 0 }, (&v1.NetClsGroup{}).Set, nil},
	{"net_prio", func(r *cgroups.Resources) bool { return len(r.NetPrioIfpriomap) > 0 }, (&v1.NetPrioGroup{}).Set, nil},
	{"rdma", func(r *cgroups.Resources) bool { return len(r.Rdma) > 0 }, (&v1.RdmaGroup{}).Set, nil},
	{"devices", func(r *cgroups.Resources) bool { return !r.SkipDevices }, (&v1.DevicesGroup{}).Set, nil},
}

func setBlkio(dir string, r *cgroups.Resources) error {
	err := (&v1.BlkioGroup{}).Set(dir, r)
	if errors.Is(err, fs.ErrNotExist) {
		// Weights need an I/O scheduler that knows them (bfq).
		return fmt.Errorf("%w: %w", ErrNoController, err)
	}
	return err
}

// fitSwap deals with v1 kernels that do not account swap: there, a limit that
// allows no swap, or all of it, is met already.
func (g *Group) fitSwap(r *cgroups.Resources) error {
	dir := g.v1Dir("memory")
	if r.MemorySwap == 0 || dir == "" || unix.Access(dir+"/memory.memsw.limit_in_bytes", unix.F_OK) == nil {
		return nil
	}
	if r.MemorySwap != -1 && r.MemorySwap != r.Memory {
		return fmt.Errorf("set memory swap: the kernel does not account swap: %w", ErrNoController)
	}
	r.MemorySwap = 0
	return nil
}

// applyHugetlbV2 sets huge page limits where the controller lives in the v2
// hierarchy of a hybrid host, or nowhere.
func (g *Group) applyHugetlbV2(r *cgroups.Resources) error {
	if !slices.Contains(g.host.v2Controllers, "hugetlb") {
		for _, l := range r.HugetlbLimit {
			if l.Limit > 0 {
				return fmt.Errorf("set hugetlb %s: %w", l.Pagesize, ErrNoController)
			}
		}
		return nil
	}
	// The files are there when the groups above have the controller enabled, as
	// they do from the second container of a pod on.
	if unix.Access(g.v2+"/hugetlb."+r.HugetlbLimit[0].Pagesize+".max", unix.F_OK) != nil {
		if err := g.enable([]string{"hugetlb"}); err != nil {
			return err
		}
	}
	return setV2(g.v2, &cgroups.Resources{HugetlbLimit: r.HugetlbLimit, SkipDevices: true})
}

func (g *Group) applyV2(r *cgroups.Resources) error {
	if !slices.Contains(g.host.v2Controllers, "hugetlb") && !slices.ContainsFunc(r.HugetlbLimit, func(l *cgroups.HugepageLimit) bool { return l.Limit > 0 }) {
		r.HugetlbLimit = nil
	}
	err := setV2(g.v2, r)
	if errors.Is(err, ErrNoController) && g.parent().path != "/" {
		if text, _ := readFile(g.parent().v2, "cgroup.procs"); text != "" {
			return fmt.Errorf("%w (%s has processes of its own, which keeps limits from the groups below)", err, g.parent().path)
		}
	}
	return err
}

// setV2 writes limits to one v2 directory.
func setV2(dir string, r *cgroups.Resources) error {
	m, err := fs2.NewManager(&cgroups.Cgroup{Resources: &cgroups.Resources{}}, dir)
	if err != nil {
		return err
	}
	err = m.Set(r)
	if errors.Is(err, fs.ErrNotExist) && unix.Access(dir, unix.F_OK) == nil {
		return fmt.Errorf("%w: %w", ErrNoController, plain(err))
	}
	return plain(err)
}

// plainError says what a library's error says in fewer words.
type plainError struct {
	text string
	err  error
}

func (e *plainError) Error() string { return e.text }
func (e *plainError) Unwrap() error { return e.err }

func plain(err error) error {
	if err == nil {
		return nil
	}
	return &plainError{strings.ReplaceAll(err.Error(), "failed to ", ""), err}
}

// enable makes v2 controllers available to g by turning them on in the groups
// above it, from the top down, where they are not on yet. What cannot be turned
// on shows when a limit needs it.
func (g *Group) enable(controllers []string) error {
	if g.path == "/" {
		return nil
	}
	above := g.parent()
	on, err := readFile(above.v2, "cgroup.subtree_control")
	if err != nil {
		return err
	}
	have := strings.Fields(on)
	missing := slices.DeleteFunc(slices.Clone(controllers), func(c string) bool { return slices.Contains(have, c) })
	if len(missing) == 0 {
		return nil
	}
	if err := above.enable(missing); err != nil {
		return err
	}
	err = writeFile(above.v2, "cgroup.subtree_control", "+"+strings.Join(missing, " +"))
	// EBUSY: the group above has processes of its own. The kernel would still
	// enable cpu and pids there, one at a time, as a domain of threads; the groups
	// below would then be invalid and take no process at all.
	if err == nil || errors.Is(err, unix.EBUSY) {
		return nil
	}
	for _, c := range missing {
		_ = writeFile(above.v2, "cgroup.subtree_control", "+"+c)
	}
	return nil
}
