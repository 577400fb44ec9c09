package network

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestADeadDaemonsPluginIsWaitedFor: a child that inherited the lock keeps it
// when the file that this process has is closed, as at a daemon's end.
func TestADeadDaemonsPluginIsWaitedFor(t *testing.T) {
	n, err := New(Config{StateDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, lock, err := n.hold(t.Context(), "pod")
	if err != nil {
		t.Fatal(err)
	}
	plugin := exec.Command("cat")
	plugin.ExtraFiles = inherited(ctx)
	end, err := plugin.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := plugin.Start(); err != nil {
		t.Fatal(err)
	}
	lock.Close()

	short, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if _, _, err := n.hold(short, "pod"); err == nil || !strings.Contains(err.Error(), "still runs") {
		t.Errorf("while the plugin runs: %v", err)
	}
	ended := make(chan error, 1)
	time.AfterFunc(20*time.Millisecond, func() { _ = end.Close(); ended <- plugin.Wait() }) // while it is waited for
	_, lock, err = n.hold(t.Context(), "pod")
	if err != nil {
		t.Fatal(err)
	}
	lock.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := n.dropLock("pod"); err != nil {
		t.Error(err)
	}
}
