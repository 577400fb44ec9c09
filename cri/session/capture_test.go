package session

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What was printed before the deadline is kept also when nobody had the time to read
// it until then.
func TestOutputAfterTheDeadline(t *testing.T) {
	o, err := newOutput(6)
	if err != nil {
		t.Fatal(err)
	}
	defer o.close()
	other, err := unix.Dup(int(o.w.Fd())) // of a child that the command has left behind
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(other)
	if _, err := o.w.WriteString("printed"); err != nil {
		t.Fatal(err)
	}
	past := time.Now().Add(-time.Second)
	if err := o.r.SetReadDeadline(past); err != nil {
		t.Fatal(err)
	}
	o.begin()
	if got := string(o.rest(t.Context(), past)); got != "printe" {
		t.Errorf("got %q of what there was and has room", got)
	}
}
