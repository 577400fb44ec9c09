package namespace

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A namespace of the pool is as any other, and nobody else's.
func TestPool(t *testing.T) {
	pool := NewPool(2)
	defer pool.Close()
	seen := map[string]bool{}
	for i := range 5 {
		s := all()
		s.Hostname = "pod"
		s.Sysctls = map[string]string{"net.ipv4.ip_local_port_range": "2000 3000", "kernel.shmmni": "77"}
		dir := filepath.Join(t.TempDir(), "ns")
		if err := pool.Pin(dir, s); err != nil {
			t.Fatal(err)
		}
		inside(t, Pins{dir}, func() error {
			if got := read("/proc/sys/net/ipv4/ip_local_port_range"); got != "2000 3000" {
				t.Errorf("range %q", got)
			}
			id, err := os.Readlink("/proc/thread-self/ns/net")
			if seen[id] {
				t.Errorf("%s is there twice", id)
			}
			seen[id] = true
			if err != nil {
				return err
			}
			return dialLoopback()
		})
		t.Cleanup(func() {
			if err := Unpin(dir); err != nil {
				t.Error(err)
			}
			clean(t, dir)
		})
		for end := time.Now().Add(time.Minute); pool.Waiting() < 2; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("round %d: %d wait", i, pool.Waiting())
			}
		}
	}
	if read("/proc/sys/net/ipv4/ip_local_port_range") == "2000 3000" {
		t.Error("the host was changed")
	}
	pool.Close()
	if f := pool.take(); f != nil || pool.Waiting() != 0 {
		t.Errorf("%v of a closed pool", f)
	}
}
