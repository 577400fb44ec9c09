package audit

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Process is a process of the node.
type Process struct {
	PID  int
	Line string // its arguments, or its short name
	Why  string // what ties it to the node
}

func (p Process) String() string { return fmt.Sprintf("process %d %s (%s)", p.PID, p.Line, p.Why) }

// Processes finds the processes of the node by their cgroup, arguments,
// program, working directory and open files. The caller and its ancestors,
// which may name the node's directory too, are left out.
func (s Scope) Processes() []Process {
	mine := ancestors(os.Getpid())
	var found []Process
	for _, pid := range allPIDs() {
		if why := s.ties(pid); why != "" && !mine[pid] {
			found = append(found, Process{PID: pid, Line: commandLine(pid), Why: why})
		}
	}
	return found
}

func processes(s Scope) []string {
	var found []string
	for _, p := range s.Processes() {
		found = append(found, p.String())
	}
	return found
}

// Children lists the processes whose parent is pid.
func Children(pid int) []int {
	var found []int
	for _, child := range allPIDs() {
		if parent(child) == pid {
			found = append(found, child)
		}
	}
	return found
}

func allPIDs() []int {
	entries, _ := os.ReadDir("/proc")
	var found []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			found = append(found, pid)
		}
	}
	return found
}

func ancestors(pid int) map[int]bool {
	found := map[int]bool{}
	for ; pid > 0 && !found[pid]; pid = parent(pid) {
		found[pid] = true
	}
	return found
}

func parent(pid int) int {
	body, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	// The short name may hold spaces and brackets: fields count from its end.
	_, after, _ := strings.Cut(string(body), ") ")
	if i := strings.LastIndex(string(body), ") "); i >= 0 {
		after = string(body)[i+2:]
	}
	fields := strings.Fields(after)
	if len(fields) < 2 {
		return 0
	}
	ppid, _ := strconv.Atoi(fields[1])
	return ppid
}

func commandLine(pid int) string {
	body, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if line := strings.TrimSpace(strings.ReplaceAll(string(body), "\x00", " ")); line != "" {
		return line
	}
	body, _ = os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	return strings.TrimSpace(string(body))
}

// ties says what ties a process to the node, "" when nothing does.
func (s Scope) ties(pid int) string {
	proc := fmt.Sprintf("/proc/%d/", pid)
	if body, err := os.ReadFile(proc + "cgroup"); err == nil && s.CgroupParent != "" {
		for line := range strings.Lines(string(body)) {
			if _, path, ok := strings.Cut(line, ":/"); ok && strings.HasPrefix("/"+strings.TrimSpace(path)+"/", s.CgroupParent+"/") {
				return "in cgroup /" + strings.TrimSpace(path)
			}
		}
	}
	if body, err := os.ReadFile(proc + "cmdline"); err == nil {
		for arg := range strings.SplitSeq(string(body), "\x00") {
			if _, value, ok := strings.Cut(arg, "="); ok && s.owns(value) || s.owns(arg) {
				return "by its arguments"
			}
		}
	}
	for _, link := range []string{"exe", "cwd"} {
		if target, err := os.Readlink(proc + link); err == nil && s.owns(target) {
			return link + " " + target
		}
	}
	fds, _ := filepath.Glob(proc + "fd/*")
	for _, fd := range fds {
		if target, err := os.Readlink(fd); err == nil && s.owns(target) {
			return "has " + target + " open"
		}
	}
	return ""
}
