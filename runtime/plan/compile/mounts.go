package compile

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/varve-cri/varve/runtime/plan"
	"golang.org/x/sys/unix"
)

// propagation is what an option says about how mounts spread.
var propagation = map[string]uint64{
	"private": unix.MS_PRIVATE, "rprivate": unix.MS_PRIVATE | unix.MS_REC,
	"slave": unix.MS_SLAVE, "rslave": unix.MS_SLAVE | unix.MS_REC,
	"shared": unix.MS_SHARED, "rshared": unix.MS_SHARED | unix.MS_REC,
	"unbindable": unix.MS_UNBINDABLE, "runbindable": unix.MS_UNBINDABLE | unix.MS_REC,
}

// attribute is what an option does to the attributes of a mount.
type attribute struct{ set, clear uint64 }

// Each has a form with "r" before it, for the whole tree of mounts. The
// options that take something away ("rw", "suid", ...) are what a new mount
// begins with. On a bind mount a "rw" does not make a read-only source
// writable: nobody writes it to mean that.
var attributes = map[string]attribute{
	"ro": {set: unix.MOUNT_ATTR_RDONLY}, "rw": {clear: unix.MOUNT_ATTR_RDONLY},
	"nosuid": {set: unix.MOUNT_ATTR_NOSUID}, "suid": {clear: unix.MOUNT_ATTR_NOSUID},
	"nodev": {set: unix.MOUNT_ATTR_NODEV}, "dev": {clear: unix.MOUNT_ATTR_NODEV},
	"noexec": {set: unix.MOUNT_ATTR_NOEXEC}, "exec": {clear: unix.MOUNT_ATTR_NOEXEC},
	"nodiratime": {set: unix.MOUNT_ATTR_NODIRATIME}, "diratime": {clear: unix.MOUNT_ATTR_NODIRATIME},
	"nosymfollow": {set: unix.MOUNT_ATTR_NOSYMFOLLOW}, "symfollow": {clear: unix.MOUNT_ATTR_NOSYMFOLLOW},
	"relatime":    {clear: unix.MOUNT_ATTR__ATIME},
	"noatime":     {set: unix.MOUNT_ATTR_NOATIME, clear: unix.MOUNT_ATTR__ATIME},
	"strictatime": {set: unix.MOUNT_ATTR_STRICTATIME, clear: unix.MOUNT_ATTR__ATIME},
	"atime":       {clear: unix.MOUNT_ATTR__ATIME}, "norelatime": {clear: unix.MOUNT_ATTR__ATIME},
	"nostrictatime": {clear: unix.MOUNT_ATTR__ATIME},
}

// insideProc are the files of procfs over which a mount may lie; over any
// other it could fake what a runtime or a tool reads there (CVE-2019-16884).
var insideProc = []string{
	"cpuinfo", "diskstats", "meminfo", "stat", "swaps", "uptime", "loadavg", "slabinfo",
	"net/dev", "sys/kernel/ns_last_pid", "sys/crypto/fips_enabled",
}

func mounts(p *plan.Plan, list []specs.Mount) error {
	proc := false
	for i := range list {
		field := fmt.Sprintf("mounts[%d]", i)
		m, err := mount(field, &list[i])
		if err != nil {
			return err
		}
		if m.Type == "proc" {
			if m.Target != "/proc" || proc {
				return fmt.Errorf("%s.destination: procfs is mounted once, on /proc", field)
			}
			proc = true
		}
		if m.Type != "cgroup" && m.Type != "cgroup2" {
			p.Mounts = append(p.Mounts, m)
			continue
		}
		if err := cgroupMounts(p, field, m); err != nil {
			return err
		}
	}
	return belowProc(p.Mounts, proc)
}

// belowProc lets nothing but procfs lie on /proc.
func belowProc(list []plan.Mount, proc bool) error {
	for i := range list {
		m := &list[i]
		rest, inside := strings.CutPrefix(m.Target, "/proc/")
		switch {
		case m.Type == "proc":
		case m.Target == "/proc":
			return fmt.Errorf("mount %s on /proc: only procfs may be mounted there", m.Type)
		case inside && (!proc || m.Type != "bind" || !slices.Contains(insideProc, rest)):
			return fmt.Errorf("mount %s on %s: nothing may be mounted there", m.Type, m.Target)
		}
	}
	return nil
}

func mount(field string, in *specs.Mount) (plan.Mount, error) {
	m := plan.Mount{Target: path.Clean(in.Destination), Type: in.Type, Source: in.Source}
	if err := absolute(field+".destination", in.Destination); err != nil {
		return m, err
	}
	if m.Target == "/" {
		return m, fmt.Errorf("%s.destination: %q is the root itself", field, in.Destination)
	}
	if slices.Contains(in.Options, "bind") || slices.Contains(in.Options, "rbind") || m.Type == "none" {
		m.Type = "bind"
	}
	for _, o := range in.Options {
		if err := option(&m, o); err != nil {
			return m, fmt.Errorf("%s.options: %w", field, err)
		}
	}
	if m.Type == plan.Image {
		return m, image(field, &m)
	}
	mapped := len(in.UIDMappings) > 0 || len(in.GIDMappings) > 0
	if m.Type == "bind" {
		m.AttrClear &^= unix.MOUNT_ATTR_RDONLY
		if mapped {
			m.Type = plan.Image // whoever has the user namespace makes it
		}
		return m, absolute(field+".source", in.Source)
	}
	if mapped {
		return m, fmt.Errorf("%s.uidMappings: a new mount has no other owners", field)
	}
	if m.Type == "" {
		return m, fmt.Errorf("%s.type: missing", field)
	}
	m.AttrSet |= m.RecAttrSet // a new mount has none below it
	m.AttrClear, m.RecAttrSet, m.RecAttrClear = 0, 0, 0
	return m, nil
}

// image checks the mount of an image. Its layers are shared with other containers,
// so that there is no other way than read-only.
func image(field string, m *plan.Mount) error {
	m.AttrSet |= m.RecAttrSet // there is one mount
	m.AttrClear, m.RecAttrSet, m.RecAttrClear = 0, 0, 0
	switch {
	case m.AttrSet&unix.MOUNT_ATTR_RDONLY == 0:
		return fmt.Errorf("%s.options: an image is mounted read-only", field)
	case m.Propagation&unix.MS_SHARED != 0:
		return fmt.Errorf("%s.options: mounts do not spread from an image", field)
	}
	return nil
}

func option(m *plan.Mount, o string) error {
	if a, ok := attributes[o]; ok {
		m.AttrSet, m.AttrClear = m.AttrSet&^a.clear|a.set, m.AttrClear&^a.set|a.clear
		return nil
	}
	if a, ok := attributes[strings.TrimPrefix(o, "r")]; ok && o[0] == 'r' {
		m.RecAttrSet, m.RecAttrClear = m.RecAttrSet&^a.clear|a.set, m.RecAttrClear&^a.set|a.clear
		return nil
	}
	if p, ok := propagation[o]; ok {
		m.Propagation = p
		return nil
	}
	switch o {
	case "bind", "defaults":
	case "rbind":
		m.Recursive = true
	case "src-nofollow":
		m.NoFollow = true
	case "tmpcopyup", "idmap", "ridmap", "remount", "dest-nofollow":
		return fmt.Errorf("%q is not supported", o)
	default:
		if m.Bound() {
			return fmt.Errorf("%q is unknown to a bind mount", o)
		}
		m.Data = append(m.Data, o)
	}
	return nil
}

// cgroupMounts turns the spec's one cgroup mount into what it stands for: the
// container's own directory of each hierarchy, which is what the root of its
// cgroup namespace shows. Bind mounts of them need no process inside.
func cgroupMounts(p *plan.Plan, field string, m plan.Mount) error {
	own := func(dir, target string) plan.Mount {
		return plan.Mount{
			Target: target, Type: "bind", Source: dir,
			AttrSet: m.AttrSet, Propagation: m.Propagation,
		}
	}
	if len(p.Cgroup.V1) == 0 {
		if p.Cgroup.V2 == "" {
			return fmt.Errorf("%s: a cgroup mount, but no cgroup", field)
		}
		source := p.Cgroup.V2
		if _, ok := hierarchy(source); ok && !p.Makes(unix.CLONE_NEWCGROUP) {
			// Without a namespace of its own the container reads the host's paths in
			// /proc/self/cgroup. What runs containers in it, or a systemd, looks for
			// them here.
			source = cgroupRoot
		}
		p.Mounts = append(p.Mounts, own(source, m.Target))
		return nil
	}
	p.Mounts = append(p.Mounts, plan.Mount{
		Target: m.Target, Type: "tmpfs", Source: "cgroup", Data: []string{"mode=755"},
		AttrSet: m.AttrSet, Propagation: m.Propagation,
	})
	dirs := p.Cgroup.V1
	if p.Cgroup.V2 != "" {
		dirs = append(slices.Clone(dirs), p.Cgroup.V2)
	}
	for _, dir := range dirs {
		name, ok := hierarchy(dir)
		if !ok {
			return fmt.Errorf("%s: cgroup %s is not in a hierarchy below %s", field, dir, cgroupRoot)
		}
		p.Mounts = append(p.Mounts, own(dir, m.Target+"/"+name))
		for alias := range strings.SplitSeq(name, ",") {
			if alias != name { // "cpu,cpuacct" is found under each of its names
				p.Links = append(p.Links, plan.Link{Path: m.Target + "/" + alias, Target: name})
			}
		}
	}
	return nil
}

// label has the file systems that are the container's own show one SELinux label
// on all of their files. Not those that others have mounted as well (mqueue of the
// pod's IPC namespace, sysfs): the kernel takes one label of a file system only.
func label(p *plan.Plan, label string) error {
	if label == "" {
		return nil
	}
	if strings.ContainsRune(label, 0) {
		return fmt.Errorf("linux.mountLabel: %q holds a zero byte", label)
	}
	for i := range p.Mounts {
		if m := &p.Mounts[i]; m.Type == "tmpfs" || m.Type == "devpts" {
			m.Data = append(m.Data, "context="+label)
		}
	}
	return nil
}

const cgroupRoot = "/sys/fs/cgroup"

// hierarchy returns the name of the hierarchy that the cgroup dir is in.
func hierarchy(dir string) (string, bool) {
	rest, ok := strings.CutPrefix(path.Clean(dir), cgroupRoot+"/")
	name, _, _ := strings.Cut(rest, "/")
	return name, ok && name != ""
}
