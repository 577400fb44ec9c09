package resource

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/varve-cri/varve/e2e/harness"
)

// A daemon that is killed at some moment of many updates: whatever it had come
// to, the next one has record and kernel agree, and of each update all applies or
// nothing.
func TestKilledInTheMiddleOfUpdates(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod(func(c *podConfig) {
		c.Linux.Resources = &limits{MemoryLimitInBytes: 512 << 20, CpuPeriod: 100000, CpuQuota: 100000}
	})
	c := pod.Start(harness.Say("sleep"), harness.Resources(&limits{MemoryLimitInBytes: 70 << 20, CpuPeriod: 100000, CpuQuota: 70000}))
	rounds := 4
	if testing.Short() {
		rounds = 2
	}
	for round := range rounds {
		done := make(chan struct{})
		go func() {
			defer close(done)
			for i := int64(0); ; i++ {
				n := 70 + i%7
				err := update(h, c, &limits{MemoryLimitInBytes: n << 20, CpuQuota: n * 1000})
				if err == nil {
					err = updatePod(h, pod, &limits{MemoryLimitInBytes: (500 + n) << 20, CpuQuota: (100 + n) * 1000}, nil)
				}
				if err != nil {
					return // there is no daemon any more
				}
			}
		}()
		time.Sleep(time.Duration(5+rand.IntN(60)) * time.Millisecond)
		h.Kill(t)
		<-done
		h.Restart(t)
		// Readers do not wait until the containers are adopted.
		var said string
		harness.Eventually(t, "record and kernel agree, with all of an update or nothing", func() bool {
			got := c.Status().GetResources().GetLinux()
			m, q := c.Limit(memory...), first(c.Limit(quota...))
			pm, pq := pod.Limit(memory...), first(pod.Limit(quota...))
			if now := fmt.Sprint("container ", m, " ", q, ", told ", got, ", pod ", pm, " ", pq); now != said {
				said = now
				t.Log("round", round, said)
			}
			var mib, micros int64
			if _, err := fmt.Sscan(pm+" "+pq, &mib, &micros); err != nil {
				t.Fatal(err)
			}
			return fmt.Sprint(got.GetMemoryLimitInBytes()) == m && fmt.Sprint(got.GetCpuQuota()) == q && got.GetMemoryLimitInBytes()>>20*1000 == got.GetCpuQuota() &&
				(mib == 512<<20 && micros == 100000 || (mib>>20-400)*1000 == micros)
		})
	}
}
