package terminal

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/varve-cri/varve/e2e/pty"
)

func TestFrame(t *testing.T) {
	for name, c := range map[string]struct {
		last, next []string
		width      int
		want       string
	}{
		"first":      {nil, []string{"a", "b"}, 80, "\ra\x1b[K\nb\x1b[K\n\x1b[J"},
		"again":      {[]string{"a", "b"}, []string{"c"}, 80, "\r\x1b[2Ac\x1b[K\n\x1b[J"},
		"narrower":   {[]string{strings.Repeat("x", 25), ""}, []string{"c"}, 10, "\r\x1b[4Ac\x1b[K\n\x1b[J"},
		"more lines": {[]string{"a"}, []string{"a", "b"}, 80, "\r\x1b[1Aa\x1b[K\nb\x1b[K\n\x1b[J"},
	} {
		if got := frame(c.last, c.next, c.width); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestScreen(t *testing.T) {
	t.Setenv("TERM", "xterm")
	outside, inside := pty.Open(t, 40, 10)
	if !Is(inside) {
		t.Error("a pty is no terminal")
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if w, h := Size(null); Is(null) || w != usualWidth || h != usualHeight {
		t.Errorf("%s is a terminal of %dx%d", os.DevNull, w, h)
	}
	t.Setenv("TERM", "dumb")
	if Is(inside) {
		t.Error("a dumb terminal cannot move its cursor")
	}
	s := NewScreen(inside)
	for i := range 2 {
		err := s.Draw(func(width, height int) []string { return []string{fmt.Sprintf("%d of %dx%d", i, width, height)} })
		if err != nil {
			t.Fatal(err)
		}
	}
	inside.Close()
	got, err := pty.ReadAll(outside)
	if err != nil {
		t.Fatal(err)
	}
	// The terminal itself writes \r\n for \n.
	if want := "\r0 of 39x10\x1b[K\r\n\x1b[J\r\x1b[1A1 of 39x10\x1b[K\r\n\x1b[J"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
