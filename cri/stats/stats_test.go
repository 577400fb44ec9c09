package stats

import (
	"testing"
	"time"

	"github.com/varve-cri/varve/runtime/cgroup"
)

const dev = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:  100 1 0 0 0 0 0 0 100 1 0 0 0 0 0 0
  eth0: 1234 9 1 0 0 0 0 0 5678 8 2 0 0 0 0 0
  net1: 7 1 0 0 0 0 0 0 8 1 0 0 0 0 0 0
`

func TestNetwork(t *testing.T) {
	u := Network(dev, time.Unix(5, 0))
	d := u.GetDefaultInterface()
	if d.GetRxBytes().GetValue() != 1234 || d.GetRxErrors().GetValue() != 1 || d.GetTxBytes().GetValue() != 5678 || d.GetTxErrors().GetValue() != 2 {
		t.Errorf("default interface %v", d)
	}
	if len(u.GetInterfaces()) != 1 || u.GetInterfaces()[0].GetName() != "net1" {
		t.Errorf("other interfaces %v", u.GetInterfaces())
	}
}

func FuzzNetwork(f *testing.F) {
	f.Add(dev)
	f.Fuzz(func(_ *testing.T, s string) { Network(s, time.Unix(0, 1)) })
}

func TestMemory(t *testing.T) {
	s := &cgroup.Stats{Time: time.Unix(1, 0), Memory: cgroup.MemoryStats{Usage: 10, WorkingSet: 7, Limit: 100, SwapLimit: cgroup.Unlimited}}
	if m := Memory(s); m.GetAvailableBytes().GetValue() != 93 || m.GetWorkingSetBytes().GetValue() != 7 {
		t.Errorf("memory %v", m)
	}
	s.Memory.WorkingSet = 200
	if m := Memory(s); m.GetAvailableBytes().GetValue() != 0 {
		t.Errorf("over the limit: %v", m)
	}
	s.Memory.Limit = cgroup.Unlimited
	if m := Memory(s); m.GetAvailableBytes() != nil {
		t.Errorf("available without a limit: %v", m)
	}
	if Swap(s) != nil {
		t.Error("swap where the kernel does not account it")
	}
	s.Memory.SwapAccounts = true
	if Swap(s) == nil || CPU(s).GetPsi() != nil {
		t.Errorf("swap %v, psi %v", Swap(s), CPU(s).GetPsi())
	}
	s.CPU.PSI = &cgroup.PSI{Some: cgroup.Stall{Total: 3, Avg10: 1.5}}
	if p := CPU(s).GetPsi(); p.GetSome().GetTotal() != 3 || p.GetSome().GetAvg10() != 1.5 || p.GetFull() == nil {
		t.Errorf("psi %v", p)
	}
}
