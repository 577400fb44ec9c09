package stats

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/runtime/cgroup"
)

// Processes are those of one container, with what they have open.
type Processes struct {
	Count       uint64
	Descriptors uint64
	Sockets     uint64
}

// countProcesses looks at each process of a cgroup and the groups below it. One
// that has just ended counts nothing.
func countProcesses(path string) (Processes, error) {
	pids, err := cgroup.Open(path).Pids()
	if err != nil {
		return Processes{}, err
	}
	p := Processes{Count: uint64(len(pids))}
	for _, pid := range pids {
		p.look(fmt.Sprintf("/proc/%d/fd", pid))
	}
	return p, nil
}

// look counts one process's descriptors, a part of the directory at a time: there
// may be a million.
func (p *Processes) look(dir string) {
	f, err := os.Open(dir)
	if err != nil {
		return
	}
	defer f.Close()
	var target [8]byte
	for {
		names, err := f.Readdirnames(1024)
		for _, name := range names {
			n, err := unix.Readlinkat(int(f.Fd()), name, target[:])
			if err != nil {
				continue
			}
			p.Descriptors++
			if strings.HasPrefix(string(target[:n]), "socket:") {
				p.Sockets++
			}
		}
		if err != nil { // the end of the directory, or of the process
			return
		}
	}
}
