package stats

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/varve-cri/varve/cri/record"
)

func TestLayerIsMeasuredOnce(t *testing.T) {
	var walks atomic.Int32
	r := NewReader("/root", func(string) (uint64, uint64, error) {
		walks.Add(1)
		time.Sleep(20 * time.Millisecond)
		return 4096, 2, nil
	})
	rec, l := &record.Container{ID: "c", State: record.Exited}, &Layer{}
	begin := time.Now()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			s := r.Container(rec, l, time.Now().Add(10*time.Second))
			if w := s.GetWritableLayer(); w.GetUsedBytes().GetValue() != 4096 || w.GetInodesUsed().GetValue() != 2 || w.GetFsId().GetMountpoint() != "/root" {
				t.Errorf("layer %v", w)
			}
		})
	}
	wg.Wait()
	if took := time.Since(begin); walks.Load() != 1 || took > 5*time.Second {
		t.Errorf("%d walks for four requests at a time, in %v", walks.Load(), took)
	}
}

func TestSlowLayerIsNotWaitedFor(t *testing.T) {
	gate := make(chan struct{})
	r := NewReader("/root", func(string) (uint64, uint64, error) {
		<-gate
		return 4096, 2, nil
	})
	rec, l := &record.Container{ID: "c", State: record.Exited}, &Layer{}
	if w := r.Container(rec, l, time.Now()).GetWritableLayer(); w.GetUsedBytes().GetValue() != 0 || w.GetTimestamp() == 0 {
		t.Errorf("before it is measured: %v", w)
	}
	close(gate)
	if w := r.Container(rec, l, time.Now().Add(10*time.Second)).GetWritableLayer(); w.GetUsedBytes().GetValue() != 4096 {
		t.Errorf("after: %v", w)
	}
	l.last.Timestamp -= int64(maxAge) // old: measured again, but not waited for
	r.measure = func(string) (uint64, uint64, error) { select {} }
	if w := r.Container(rec, l, time.Now().Add(time.Hour)).GetWritableLayer(); w.GetUsedBytes().GetValue() != 4096 {
		t.Errorf("an old one: %v", w)
	}
}
