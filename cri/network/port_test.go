package network

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// portPod is a pod that asks for ports of the host.
func portPod(id string, ports ...Port) Pod {
	return Pod{ID: id, Name: "name-of-" + id, Namespace: "ns", UID: "u", NetNS: "/proc/self/ns/net", Ports: ports}
}

func tcp(port int32, ip string) Port {
	return Port{HostPort: port, ContainerPort: 80, Protocol: "tcp", HostIP: ip}
}

// refused checks that a pod is refused for the port of another, and that
// nothing is owed for it.
func (b *bench) refused(t *testing.T, p Pod, owner string) {
	t.Helper()
	_, err := b.Attach(t.Context(), p)
	var taken *PortError
	if !errors.As(err, &taken) || taken.PodID != owner || taken.Name != "name-of-"+owner || taken.Namespace != "ns" {
		t.Fatalf("pod %s: %v, want the port to be that of %s", p.ID, err, owner)
	}
	if _, err := os.Stat(filepath.Join(b.state, "duties", p.ID)); err == nil {
		t.Errorf("a detach is owed for pod %s, which was refused", p.ID)
	}
}

func (b *bench) attached(t *testing.T, p Pod) {
	t.Helper()
	if _, err := b.Attach(t.Context(), p); err != nil {
		t.Fatalf("pod %s: %v", p.ID, err)
	}
}

func (b *bench) detached(t *testing.T, id string) {
	t.Helper()
	if err := b.Detach(t.Context(), id); err != nil {
		t.Fatal(err)
	}
}

// A port of the host has one pod at a time, and gets free with its detach.
func TestHostPortHasOnePod(t *testing.T) {
	b := newBench(t)
	b.configure(t, "works")
	b.attached(t, portPod("a", tcp(8080, ""), tcp(8081, "127.0.0.1"), tcp(8081, "10.0.0.1")))
	b.refused(t, portPod("b", tcp(9090, ""), tcp(8080, "")), "a")
	b.refused(t, portPod("b", tcp(8081, "0.0.0.0")), "a")
	_, err := b.Attach(t.Context(), portPod("b", tcp(8081, "0.0.0.0")))
	if want := "host port 8081/tcp on 0.0.0.0 is that of pod ns/name-of-a (a) on 127.0.0.1"; err == nil || err.Error() != want {
		t.Errorf("the error is %v, want %s", err, want)
	}
	b.attached(t, portPod("b", tcp(8081, "127.0.0.2"), Port{HostPort: 8080, ContainerPort: 80, Protocol: "udp"}, tcp(0, "")))
	b.attached(t, portPod("c", tcp(9090, ""), tcp(0, ""))) // what a refused pod asked for as well is free
	b.detached(t, "a")
	b.attached(t, portPod("d", tcp(8080, "")))
	b.detached(t, "d")
	b.detached(t, "b")
	b.detached(t, "c")
	if len(b.ports.owners)+len(b.ports.taken) != 0 {
		t.Errorf("remembered without a pod: %v, %v", b.ports.owners, b.ports.taken)
	}
}

// The next daemon knows whose the ports are; those of before a boot are free.
func TestHostPortAfterRestart(t *testing.T) {
	b := newBench(t)
	b.configure(t, "works")
	b.attached(t, portPod("a", tcp(8080, "::1")))
	b.attached(t, portPod("plain"))
	if err := os.WriteFile(filepath.Join(b.state, "duties", "bad"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.reopen(t)
	b.refused(t, portPod("b", tcp(8080, "::")), "a")
	b.attached(t, portPod("b", tcp(8080, "0.0.0.0")))
	b.reopen(t)
	b.detached(t, "a") // before anybody asked for a port
	b.attached(t, portPod("c", tcp(8080, "::1")))
	b.reopen(t)
	b.boot = "another"
	b.attached(t, portPod("d", tcp(8080, "")))
}

// While the plugins refuse to detach a pod, its rules may still be there.
func TestHostPortOfPodThatIsNotDetached(t *testing.T) {
	b := newBench(t)
	b.configure(t, "works")
	b.refuse(t, "ADD", true)
	if _, err := b.Attach(t.Context(), portPod("a", tcp(8080, ""))); err == nil {
		t.Fatal("a refused ADD is no error")
	}
	b.refuse(t, "ADD", false)
	b.refuse(t, "DEL", true)
	if err := b.Detach(t.Context(), "a"); err == nil {
		t.Fatal("a refused DEL is no error")
	}
	b.refused(t, portPod("b", tcp(8080, "")), "a")
	_, err := b.Attach(t.Context(), portPod("b", tcp(8080, "")))
	if err == nil || !strings.Contains(err.Error(), "stopped but not yet detached: network net1: delete: plugin works: DEL: no address left") {
		t.Errorf("the error is %v", err)
	}
	b.refuse(t, "DEL", false)
	b.detached(t, "a")
	b.attached(t, portPod("b", tcp(8080, "")))
}

// An error of the other pod's detach says nothing about the one that is refused.
func TestPortErrorIsOfItsOwnKind(t *testing.T) {
	err := error(&PortError{Detach: context.DeadlineExceeded})
	if errors.Is(err, context.DeadlineExceeded) {
		t.Error("a refused port is a deadline")
	}
}

// Of many that ask at once, one gets the port.
func TestHostPortAtOnce(t *testing.T) {
	b := newBench(t)
	b.configure(t, "works")
	b.attached(t, portPod("before"))
	b.reopen(t)
	const many = 12
	errs := make([]error, many)
	var wg sync.WaitGroup
	for i := range many {
		wg.Go(func() {
			_, errs[i] = b.Attach(t.Context(), portPod(fmt.Sprint("pod", i), tcp(8080, "")))
		})
	}
	wg.Wait()
	won := 0
	for i, err := range errs {
		var taken *PortError
		switch {
		case err == nil:
			won++
		case !errors.As(err, &taken):
			t.Errorf("pod %d: %v", i, err)
		}
	}
	if won != 1 {
		t.Errorf("%d pods have one port", won)
	}
}

func TestOverlap(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"", "", true}, {"", "127.0.0.1", true}, {"", "::1", true}, {"", "0.0.0.0", true}, {"", "::", true},
		{"0.0.0.0", "127.0.0.1", true}, {"0.0.0.0", "0.0.0.0", true}, {"0.0.0.0", "::1", false}, {"0.0.0.0", "::", false},
		{"::", "::1", true}, {"::", "127.0.0.1", false}, {"127.0.0.1", "127.0.0.1", true}, {"127.0.0.1", "127.0.0.2", false},
		{"::1", "0:0:0:0:0:0:0:1", true}, {"fd00::1", "fd00::2", false}, {"::ffff:127.0.0.1", "127.0.0.1", true}, {"::ffff:127.0.0.1", "::", false},
	} {
		if got := overlap(c.a, c.b); got != c.want {
			t.Errorf("%q and %q: %v", c.a, c.b, got)
		}
		if got := overlap(c.b, c.a); got != c.want {
			t.Errorf("%q and %q: %v", c.b, c.a, got)
		}
	}
}
