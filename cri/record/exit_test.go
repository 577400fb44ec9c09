package record

import (
	"testing"
	"time"
)

func TestNothingEndsBeforeItStarts(t *testing.T) {
	noted := time.Unix(100, 500)
	ended := time.Unix(100, 400)
	c := &Container{State: Starting}
	if err := c.Started(1, noted); err != nil {
		t.Fatal(err)
	}
	if err := c.Exit(Exit{At: ended}); err != nil {
		t.Fatal(err)
	}
	if c.StartedAt > c.EndedAt || c.EndedAt != ended.UnixNano() {
		t.Errorf("started at %d, ended at %d", c.StartedAt, c.EndedAt)
	}
}
