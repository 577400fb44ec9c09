package stats

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/varve-cri/varve/cri/network"
	"github.com/varve-cri/varve/runtime/usage"
)

const dev = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:  100 1 0 0 0 0 0 0 100 1 0 0 0 0 0 0
  eth0: 1234 9 1 4 0 0 0 0 5678 8 2 3 0 0 0 0
  net1: 7 1 0 0 0 0 0 0 8 1 0 0 0 0 0 0
 short: 7 1 0
`

func TestNetwork(t *testing.T) {
	all := interfaces(dev)
	if want := []Interface{{network.Interface, 1234, 9, 1, 4, 5678, 8, 2, 3}, {"net1", 7, 1, 0, 0, 8, 1, 0, 0}}; !reflect.DeepEqual(all, want) {
		t.Errorf("got %+v", all)
	}
	u := Network(all, time.Unix(5, 0))
	d := u.GetDefaultInterface()
	if d.GetRxBytes().GetValue() != 1234 || d.GetRxErrors().GetValue() != 1 || d.GetTxBytes().GetValue() != 5678 || d.GetTxErrors().GetValue() != 2 || u.GetTimestamp() != 5e9 {
		t.Errorf("default interface %v", u)
	}
	if len(u.GetInterfaces()) != 1 || u.GetInterfaces()[0].GetName() != "net1" {
		t.Errorf("other interfaces %v", u.GetInterfaces())
	}
}

// TestHostileInterfaces are those of a pod that means harm to the other pods' figures.
func TestHostileInterfaces(t *testing.T) {
	counters := ": 1 2 3 4 0 0 0 0 5 6 7 8 0 0 0 0"
	all := interfaces("a\xffb" + counters + "\n" + strings.Repeat("x"+counters+"\n", 1000) + "cut" + counters)
	if len(all) != maxInterfaces || all[0].Name != `a\xffb` || all[0].TxDropped != 8 || all[1].Name != "x" {
		t.Errorf("%d interfaces: %+v", len(all), all[:2])
	}
	if got := interfaces("cut" + counters); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

func FuzzInterfaces(f *testing.F) {
	f.Add(dev)
	f.Fuzz(func(t *testing.T, s string) {
		if _, err := proto.Marshal(Network(interfaces(s), time.Unix(0, 1))); err != nil {
			t.Error(err)
		}
	})
}

func TestMemory(t *testing.T) {
	s := &usage.Usage{Time: time.Unix(1, 0), Memory: usage.Memory{Usage: 10, WorkingSet: 7, Limit: 100, SwapLimit: usage.Unlimited}}
	if m := memory(s); m.GetAvailableBytes().GetValue() != 93 || m.GetWorkingSetBytes().GetValue() != 7 {
		t.Errorf("memory %v", m)
	}
	s.Memory.WorkingSet = 200
	if m := memory(s); m.GetAvailableBytes().GetValue() != 0 {
		t.Errorf("over the limit: %v", m)
	}
	s.Memory.Limit = usage.Unlimited
	if m := memory(s); m.GetAvailableBytes() != nil {
		t.Errorf("available without a limit: %v", m)
	}
	if swap(s) != nil {
		t.Error("swap where the kernel does not account it")
	}
	s.Memory.SwapAccounts, s.Memory.Swap = true, 5
	if w := swap(s); w.GetSwapUsageBytes().GetValue() != 5 || w.GetSwapAvailableBytes() != nil {
		t.Errorf("swap without a limit: %v", w)
	}
	s.Memory.SwapLimit = 12
	if w := swap(s); w.GetSwapAvailableBytes().GetValue() != 7 {
		t.Errorf("swap under a limit: %v", w)
	}
}

func TestCPU(t *testing.T) {
	s := &usage.Usage{Time: time.Unix(10, 0), CPU: usage.CPU{Total: 4e9}}
	c := cpu(s, &rate{}, time.Unix(2, 0).UnixNano())
	if c.GetUsageCoreNanoSeconds().GetValue() != 4e9 || c.GetUsageNanoCores().GetValue() != 5e8 || c.GetPsi() != nil || c.GetTimestamp() != 10e9 {
		t.Errorf("%v", c)
	}
	s.CPU.PSI = usage.PSI{Known: true, Some: usage.Stall{Total: 3, Avg10: 1.5}}
	if p := cpu(s, &rate{}, 0).GetPsi(); p.GetSome().GetTotal() != 3 || p.GetSome().GetAvg10() != 1.5 || p.GetFull() == nil {
		t.Errorf("psi %v", p)
	}
	if c := cpu(s, &rate{}, time.Unix(11, 0).UnixNano()); c.GetUsageNanoCores() != nil {
		t.Errorf("a rate out of nothing: %v", c)
	}
}

func TestRate(t *testing.T) {
	var r rate
	began := time.Unix(100, 0)
	for i, c := range []struct {
		after time.Duration
		total uint64
		nano  uint64
		known bool
	}{
		{0, 0, 0, false},
		{500 * time.Millisecond, 25e7, 5e8, true},   // since the start
		{900 * time.Millisecond, 89e7, 5e8, true},   // too soon for another
		{2 * time.Second, 1e9, 5e8, true},           // since the start still: half a core
		{12 * time.Second, 21e9, 2e9, true},         // two cores for ten seconds
		{12500 * time.Millisecond, 3e10, 2e9, true}, // too soon
		{14 * time.Second, 21e9, 0, true},           // idle for two seconds
		{15 * time.Second, 5e9, 0, false},           // another group by this name
		{17 * time.Second, 6e9, 5e8, true},
	} {
		if nano, known := r.sample(began.Add(c.after), c.total, began); known != c.known || known && nano != c.nano {
			t.Errorf("%d: %d, %v", i, nano, known)
		}
	}
}

func TestGrowth(t *testing.T) {
	var g growth
	check := func(want []usage.Device, read ...usage.Device) {
		t.Helper()
		if got := g.grow(read); !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	check([]usage.Device{{Major: 8, ReadBytes: 10, Reads: 1}}, usage.Device{Major: 8, ReadBytes: 10, Reads: 1})
	check([]usage.Device{{Major: 8, ReadBytes: 30, Reads: 2}}, usage.Device{Major: 8, ReadBytes: 30, Reads: 2})
	check([]usage.Device{{Major: 8, ReadBytes: 30, Reads: 2}, {Major: 9, Writes: 1}}, usage.Device{Major: 8, ReadBytes: 5}, usage.Device{Major: 9, Writes: 1}) // a group has gone
	check([]usage.Device{{Major: 8, ReadBytes: 32, Reads: 3}, {Major: 9, Writes: 1}}, usage.Device{Major: 8, ReadBytes: 7, Reads: 1})
}
