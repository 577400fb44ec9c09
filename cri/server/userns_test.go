package server

import (
	"errors"
	"testing"
	"time"
)

// A yes is for ever, a no for a minute.
func TestUsernsProbe(t *testing.T) {
	var answer error
	asked := 0
	p := &usernsProbe{try: func() error { asked++; return answer }}
	answer = errors.New("no room")
	for range 2 {
		if err := p.check(); err != answer || asked != 1 {
			t.Errorf("%v after %d", err, asked)
		}
	}
	p.last.Load().at = time.Now().Add(-2 * usernsPatience)
	answer = nil
	for range 2 {
		if err := p.check(); err != nil || asked != 2 {
			t.Errorf("%v after %d", err, asked)
		}
	}
	p.last.Load().at = time.Now().Add(-2 * usernsPatience)
	if err := p.check(); err != nil || asked != 2 {
		t.Errorf("%v after %d", err, asked)
	}
}
