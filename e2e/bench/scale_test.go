package main

import (
	"os"
	"testing"
	"time"
)

func TestCPUTimeCounts(t *testing.T) {
	self := map[int]bool{os.Getpid(): true}
	before := cpuTime(self)
	for begin := time.Now(); cpuTime(self)-before < 50*time.Millisecond; {
		if time.Since(begin) > time.Minute {
			t.Fatal("a minute of work is less than 50 ms of processor time")
		}
	}
	if gone := cpuTime(map[int]bool{1 << 30: true}); gone != 0 {
		t.Errorf("a process that is not there has used %v", gone)
	}
}

func TestGrowth(t *testing.T) {
	h := history{values: map[string][]float64{"flat": {9, 9, 5, 5, 5, 5, 5, 5, 5, 5}, "grows": {0, 0, 1, 1, 2, 2, 3, 3, 4, 4}}}
	if got := h.growth("flat"); got.N != 1 || got.Median != 0 {
		t.Errorf("flat: %+v", got)
	}
	if got := h.growth("grows"); got.Median != 3 {
		t.Errorf("grows: %+v", got)
	}
	if got := h.growth("unknown"); got.N != 0 {
		t.Errorf("unknown: %+v", got)
	}
}
