package audit

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// holds waits until the audit does, or does not, name something.
func holds(t *testing.T, s Scope, what string, want bool) {
	t.Helper()
	var now []string
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		now = s.Take()
		if strings.Contains(strings.Join(now, "\n"), what) == want {
			return
		}
	}
	t.Errorf("%q found: want %v; the audit says:\n%s", what, want, strings.Join(now, "\n"))
}

// group is a cgroup that no other run of these tests has.
func group() string { return fmt.Sprint("/varve-audit-test-", os.Getpid()) }

func TestTakeFindsEachKind(t *testing.T) {
	s := Scope{Dir: t.TempDir(), CgroupParent: group(), Network: "audit-test", Subnet: "10.254.254.0/24"}
	s.Leases, s.Layers = filepath.Join(s.Dir, "ipam"), filepath.Join(s.Dir, "rw")
	if left := s.Take(); len(left) > 0 {
		t.Fatalf("an empty directory holds %q", left)
	}

	target := filepath.Join(s.Dir, "a mount")
	must(t, os.Mkdir(target, 0o700))
	must(t, unix.Mount("none", target, "tmpfs", 0, ""))
	holds(t, s, "mount tmpfs at "+target, true)
	must(t, unix.Unmount(target, 0))
	holds(t, s, "mount ", false)

	sleeper := exec.Command("sleep", "100")
	sleeper.Dir = s.Dir
	must(t, sleeper.Start())
	holds(t, s, "sleep 100 (cwd", true)
	must(t, sleeper.Process.Kill())
	sleeper.Wait() //nolint:errcheck // it was killed
	holds(t, s, "process", false)

	listener, err := net.Listen("unix", filepath.Join(s.Dir, "s"))
	must(t, err)
	holds(t, s, "socket "+s.Dir, true)
	listener.Close()
	holds(t, s, "socket", false)

	must(t, os.MkdirAll(filepath.Join(s.Leases, s.Network, "10.254.254.2"), 0o700))
	must(t, os.MkdirAll(filepath.Join(s.Layers, "layer-1"), 0o700))
	holds(t, s, "address lease 10.254.254.2", true)
	holds(t, s, "read-write layer layer-1", true)
}

func TestTakeFindsCgroups(t *testing.T) {
	s := Scope{Dir: t.TempDir(), CgroupParent: group()}
	for _, root := range cgroupRoots() {
		parent := filepath.Join(root, s.CgroupParent)
		must(t, os.MkdirAll(filepath.Join(parent, "pod"), 0o755))
		t.Cleanup(func() {
			os.Remove(filepath.Join(parent, "pod"))
			os.Remove(parent)
		})
		holds(t, s, "cgroup "+filepath.Join(parent, "pod"), true)
	}
}

func TestOwnsRule(t *testing.T) {
	s := Scope{Network: "mynet", Subnet: "10.9.8.0/24"}
	for rule, want := range map[string]bool{
		`-A POSTROUTING -s 10.9.8.7/32 -j CNI-1`:                             true,
		`-A CNI-DN-1 -p tcp -j DNAT --to-destination 10.9.8.7:80`:            true,
		`-A X -m comment --comment "name: \"mynet\" id: \"1\"" -j CNI-1`:     true,
		`-A X -m comment --comment "name: \"mynet-two\" id: \"1\"" -j CNI-1`: false,
		`-A POSTROUTING -s 10.9.7.7/32 -j CNI-1`:                             false,
	} {
		if got := s.OwnsRule(rule); got != want {
			t.Errorf("%s: got %v", rule, got)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
