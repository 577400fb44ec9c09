package scrub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// When a check begins.
const (
	every   = 7 * 24 * time.Hour
	first   = 10 * time.Minute // after New, at the earliest
	unclean = 30 * time.Second // the same when the machine went down with the store open
	retry   = 15 * time.Minute // of repairs
)

// stateName is the file in the store's directory.
const stateName = "checked.json"

// Work is what a schedule has done.
type Work struct {
	// Check checks everything.
	Check func(context.Context) error
	// Repair tries to repair what earlier checks found, and tells whether anything
	// is left.
	Repair func(context.Context) bool
	// Report is told of errors.
	Report func(string)
	// Now is the clock, which may jump.
	Now func() time.Time
}

// Schedule has the work done from time to time.
type Schedule struct {
	dir   string
	work  Work
	state state
	soon  bool // the machine went down while the store was open
	ended chan struct{}
}

// state is what the file says.
type state struct {
	Boot     string    `json:"boot"`     // of the machine, when the store was opened
	Closed   bool      `json:"closed"`   // the store, since
	Finished time.Time `json:"finished"` // the last check
}

// New reads the state in a store's directory and notes that the store is open.
func New(dir string, work Work) *Schedule {
	c := &Schedule{dir: dir, work: work, ended: make(chan struct{})}
	close(c.ended) // nothing runs
	if b, err := os.ReadFile(filepath.Join(dir, stateName)); err == nil {
		// What cannot be read is of a file that a power cut left empty.
		c.soon = json.Unmarshal(b, &c.state) != nil || !c.state.Closed && c.state.Boot != bootID()
	}
	c.state.Boot, c.state.Closed = bootID(), false
	c.save()
	return c
}

// Unclean tells whether the machine went down with the store open the last time.
func (c *Schedule) Unclean() bool { return c.soon }

func bootID() string {
	b, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b))
}

// Start begins the work, which goes on until ctx ends.
func (c *Schedule) Start(ctx context.Context) {
	c.ended = make(chan struct{})
	go c.run(ctx)
}

// Close waits for the work, whose context must have ended, and notes that the store
// was closed in order.
func (c *Schedule) Close() {
	<-c.ended
	c.state.Closed = true
	c.save()
}

func (c *Schedule) run(ctx context.Context) {
	defer close(c.ended)
	for wait := c.first(); ; wait = c.next(ctx) {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
		if !c.due() {
			continue
		}
		err := c.work.Check(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			c.work.Report(fmt.Sprintf("check layers: %v", err))
		}
		c.soon, c.state.Finished = false, c.work.Now()
		c.save()
	}
}

func (c *Schedule) first() time.Duration {
	if c.soon {
		return unclean
	}
	return first
}

// due tells whether it is time for a check. A clock that went back says nothing of
// when the last one was, so then it is.
func (c *Schedule) due() bool {
	since := c.work.Now().Sub(c.state.Finished)
	return c.soon || since < 0 || since >= every
}

// next is how long to wait; meanwhile repairs are tried.
func (c *Schedule) next(ctx context.Context) time.Duration {
	wait := max(0, every-c.work.Now().Sub(c.state.Finished))
	if c.work.Repair(ctx) {
		wait = min(wait, retry)
	}
	return min(wait, every)
}

// save writes the state, synced, since it tells of power cuts. It is a hint all the
// same: nothing is lost with it but time.
func (c *Schedule) save() {
	path := filepath.Join(c.dir, stateName)
	b, err := json.Marshal(c.state)
	if err == nil {
		err = write(path+".new", append(b, '\n'))
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err == nil {
		err = sync(c.dir)
	}
	if err != nil {
		c.work.Report(fmt.Sprintf("note the last check of layers: %v", err))
	}
}

func write(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close())
}

func sync(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
