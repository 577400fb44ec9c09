package stats

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/record"
	"github.com/varve-cri/varve/runtime/cgroup"
)

func exited() Container {
	return Container{Record: &record.Container{ID: "c", State: record.Exited}, Gauge: &Gauge{}}
}

func writableOf(r *Reader, c Container, deadline time.Duration) *runtimeapi.FilesystemUsage {
	return r.container(c, time.Now().Add(deadline)).GetWritableLayer()
}

func TestLayerIsMeasuredOnce(t *testing.T) {
	var walks atomic.Int32
	r := NewReader("/root", func(string) (uint64, uint64, error) {
		walks.Add(1)
		time.Sleep(20 * time.Millisecond)
		return 4096, 2, nil
	})
	c := exited()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if w := writableOf(r, c, time.Minute); w.GetUsedBytes().GetValue() != 4096 || w.GetInodesUsed().GetValue() != 2 || w.GetFsId().GetMountpoint() != "/root" {
				t.Errorf("layer %v", w)
			}
		})
	}
	wg.Wait()
	if walks.Load() != 1 {
		t.Errorf("%d walks for four requests at a time", walks.Load())
	}
}

func TestSlowLayerIsNotWaitedFor(t *testing.T) {
	gate := make(chan struct{})
	r := NewReader("/root", func(string) (uint64, uint64, error) {
		<-gate
		return 4096, 2, nil
	})
	c := exited()
	if w := writableOf(r, c, 0); w.GetUsedBytes() != nil || w.GetTimestamp() == 0 || w.GetFsId().GetMountpoint() != "/root" {
		t.Errorf("before it is measured: %v", w)
	}
	close(gate)
	first := writableOf(r, c, time.Minute)
	if first.GetUsedBytes().GetValue() != 4096 {
		t.Errorf("after: %v", first)
	}
	old := time.Now().Add(-maxAge)
	c.Gauge.layer.at = old // measured again, but not waited for
	r.measure = func(string) (uint64, uint64, error) { select {} }
	if w := writableOf(r, c, time.Hour); w.GetUsedBytes().GetValue() != 4096 || w.GetTimestamp() != old.UnixNano() {
		t.Errorf("an old one: %v, it was measured at %v", w, old)
	}
}

// TestMeasureFails tries again with the next request.
func TestMeasureFails(t *testing.T) {
	fails := true
	r := NewReader("/root", func(string) (uint64, uint64, error) {
		if fails {
			fails = false
			return 0, 0, errors.New("it is being removed")
		}
		return 1, 1, nil
	})
	c := exited()
	if w := writableOf(r, c, time.Minute); w.GetUsedBytes() != nil {
		t.Errorf("%v", w)
	}
	if w := writableOf(r, c, time.Minute); w.GetUsedBytes().GetValue() != 1 {
		t.Errorf("%v", w)
	}
}

// TestLargeLayersRest measures the longer a layer takes the more rarely, but not for ever.
func TestLargeLayersRest(t *testing.T) {
	for _, c := range []struct {
		took, age time.Duration
		again     bool
	}{
		{time.Millisecond, maxAge - time.Second, false},
		{time.Millisecond, maxAge + time.Second, true},
		{5 * time.Second, 40 * time.Second, false},
		{5 * time.Second, 46 * time.Second, true},
		{time.Hour, 4 * time.Minute, false},
		{time.Hour, 6 * time.Minute, true},
	} {
		s := slow[int]{at: time.Now().Add(-c.age), took: c.took}
		done := s.begin(make(queue, 1), func() (int, error) { return 1, nil })
		if (done != nil) != c.again {
			t.Errorf("one that took %v, after %v: measured again %v", c.took, c.age, done != nil)
		}
		await(done, time.Now().Add(time.Minute))
	}
}

// TestQueue has as many measurements run at a time as there are places.
func TestQueue(t *testing.T) {
	q, gate := make(queue, walkers), make(chan struct{})
	var running, most atomic.Int32
	var all []<-chan struct{}
	for range 5 {
		s := &slow[int]{}
		all = append(all, s.begin(q, func() (int, error) {
			most.Store(max(most.Load(), running.Add(1)))
			<-gate
			running.Add(-1)
			return 1, nil
		}))
	}
	for running.Load() < walkers {
		time.Sleep(time.Millisecond)
	}
	close(gate)
	for _, done := range all {
		<-done
	}
	if most.Load() > walkers {
		t.Errorf("%d at a time", most.Load())
	}
}

// beBusy takes memory again and again: what a process took before it came into a
// group is not that group's.
func beBusy(t *testing.T) {
	for end := time.Now().Add(time.Hour); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		m, err := unix.Mmap(-1, 0, 1<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(m); i += 4096 {
			m[i] = 1
		}
		time.Sleep(5 * time.Millisecond)
		if err := unix.Munmap(m); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSamples measures a pod of one container, which is this program with a socket for its
// input.
func TestSamples(t *testing.T) {
	if os.Getenv("VARVE_TEST_BUSY") != "" {
		beBusy(t)
	}
	parent := fmt.Sprintf("/varve-test-stats-%d", os.Getpid())
	group, err := cgroup.Create(parent+"/c", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(group.Kill(), group.Remove(), cgroup.Open(parent).Remove()); err != nil {
			t.Error(err)
		}
	})
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	socket, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestSamples$")
	cmd.Env = append(os.Environ(), "VARVE_TEST_BUSY=1")
	cmd.Stdin = socket
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for _, dir := range append(group.V1Paths(), group.V2Path()) {
		if dir == "" {
			continue
		}
		if err := os.WriteFile(dir+"/cgroup.procs", []byte(fmt.Sprint(cmd.Process.Pid)), 0); err != nil {
			t.Fatal(err)
		}
	}
	r := NewReader(t.TempDir(), func(string) (uint64, uint64, error) { return 8192, 3, nil })
	rec := &record.Container{ID: "c", State: record.Running, Cgroup: group.Path(), PID: cmd.Process.Pid}
	ended := Container{Record: &record.Container{ID: "e", State: record.Exited, Reason: record.ReasonOOMKilled, Cgroup: parent + "/e"}, Gauge: &Gauge{}}
	pod := Pod{Record: &record.Pod{ID: "p", CgroupParent: parent}, Gauge: &Gauge{}, Containers: []Container{{rec, &Gauge{}}, ended}}
	defer pod.Gauge.Close()
	defer pod.Containers[0].Gauge.Close()

	// On a busy machine the first tenth of a second may not do.
	var pods []Sample
	var containers [][]Sample
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		pods, containers = r.Samples([]Pod{pod}, Deadline())
		if !containers[0][0].ProcessesAt.IsZero() && !containers[0][1].LayerAt.IsZero() {
			break
		}
	}
	c := containers[0][0]
	if c.Usage == nil || c.Usage.Tasks.Current < 1 || c.Layer != (Layer{8192, 3}) || c.Processes.Count != 1 || c.Processes.Descriptors < 3 || c.Processes.Sockets != 1 || c.OOMs != 0 {
		t.Errorf("%+v, usage %+v", c, c.Usage)
	}
	if e := containers[0][1]; e.Usage != nil || e.OOMs != 1 || e.Layer.Bytes != 8192 {
		t.Errorf("one that was killed: %+v", e)
	}
	if pods[0].Usage == nil || pods[0].Usage.Tasks.Current < 1 {
		t.Errorf("the pod: %+v", pods[0])
	}
	var s *runtimeapi.LinuxPodSandboxStats
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		if s = r.Pods([]Pod{pod}, Deadline())[0].GetLinux(); s.GetMemory().GetUsageBytes().GetValue() > 0 {
			break
		}
	}
	if s.GetProcess().GetProcessCount().GetValue() < 1 || s.GetMemory().GetUsageBytes().GetValue() == 0 || s.GetNetwork() != nil || len(s.GetContainers()) != 2 {
		t.Errorf("%v", s)
	}
}
