package audit

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// mountInfo is one line of mountinfo (proc(5)), as far as it is needed here.
type mountInfo struct{ root, target, fstype string }

func mountTable() []mountInfo {
	body, _ := os.ReadFile("/proc/self/mountinfo")
	var table []mountInfo
	for line := range strings.Lines(string(body)) {
		before, after, ok := strings.Cut(line, " - ")
		fields, tail := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 6 || len(tail) < 1 {
			continue
		}
		table = append(table, mountInfo{root: fields[3], target: unescape(fields[4]), fstype: tail[0]})
	}
	return table
}

// unescape undoes the kernel's octal escapes of mountinfo.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

func mounts(s Scope) []string {
	var found []string
	for _, m := range mountTable() {
		if !s.owns(m.target) {
			continue
		}
		if m.fstype == "nsfs" {
			found = append(found, "namespace "+m.root+" pinned at "+m.target)
		} else {
			found = append(found, "mount "+m.fstype+" at "+m.target)
		}
	}
	return found
}

// cgroupRoots is where the hierarchies are mounted, v1 and v2.
func cgroupRoots() []string {
	var roots []string
	for _, m := range mountTable() {
		if strings.HasPrefix(m.fstype, "cgroup") {
			roots = append(roots, m.target)
		}
	}
	return roots
}

// cgroups lists what is below the node's parent, not the parent itself.
func cgroups(s Scope) []string {
	var found []string
	if strings.Trim(s.CgroupParent, "/") == "" {
		return nil
	}
	for _, root := range cgroupRoots() {
		parent := filepath.Join(root, s.CgroupParent)
		filepath.WalkDir(parent, func(path string, entry fs.DirEntry, err error) error { //nolint:errcheck // a group that goes away is no leak
			if err == nil && entry.IsDir() && path != parent {
				found = append(found, "cgroup "+path)
			}
			return nil
		})
	}
	return found
}

func sockets(s Scope) []string {
	body, _ := os.ReadFile("/proc/net/unix")
	seen := map[string]bool{}
	var found []string
	for line := range strings.Lines(string(body)) {
		fields := strings.Fields(line)
		if len(fields) < 8 {
			continue
		}
		name := fields[7]
		abstract := strings.HasPrefix(name, "@") && strings.Contains(name, s.Dir)
		if (abstract || s.owns(name)) && !seen[name] {
			seen[name] = true
			found = append(found, "socket "+name)
		}
	}
	return found
}
