package session

import (
	"context"
	"testing"

	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
)

// The program's first look finds the size that a client has sent at once; one that
// sends none, or goes, is not waited for.
func TestFirstSize(t *testing.T) {
	sent := make(chan remotecommand.TerminalSize, 1)
	sent <- remotecommand.TerminalSize{Width: 80, Height: 24}
	if got := (Streams{Resize: sent}).firstSize(t.Context()); got.Width != 80 || got.Height != 24 {
		t.Errorf("the size is %v", got)
	}
	if got := (Streams{}).firstSize(t.Context()); got != (remotecommand.TerminalSize{}) {
		t.Errorf("without one the size is %v", got)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if got := (Streams{Resize: make(chan remotecommand.TerminalSize)}).firstSize(gone); got != (remotecommand.TerminalSize{}) {
		t.Errorf("of a client that is gone the size is %v", got)
	}
}
