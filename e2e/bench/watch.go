package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// memoryWatch follows the anonymous memory of a process: the files that it
// maps belong to the page cache.
type memoryWatch struct {
	quit chan struct{}
	peak chan float64
}

// watchMemory looks at the process every few milliseconds until stop.
func watchMemory(pid int) memoryWatch {
	w := memoryWatch{make(chan struct{}), make(chan float64, 1)}
	idle := anonymous(pid)
	go func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		highest := idle
		for {
			select {
			case <-w.quit:
				w.peak <- highest - idle
				return
			case <-tick.C:
				highest = max(highest, anonymous(pid))
			}
		}
	}()
	return w
}

// stop ends the watch and returns the peak above the beginning, in MiB.
func (w memoryWatch) stop() float64 {
	close(w.quit)
	return <-w.peak
}

// anonymous is the RssAnon of a process in MiB, 0 when it is gone.
func anonymous(pid int) float64 {
	body, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, after, _ := bytes.Cut(body, []byte("\nRssAnon:"))
	fields := bytes.Fields(after)
	if len(fields) == 0 {
		return 0
	}
	kib, err := strconv.ParseFloat(string(fields[0]), 64)
	if err != nil {
		return 0
	}
	return kib / 1024
}
