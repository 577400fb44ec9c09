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
	plugin := exec.Command("sleep", "0.3")
	plugin.ExtraFiles = inherited(ctx)
	if err := plugin.Start(); err != nil {
		t.Fatal(err)
	}
	lock.Close()

	short, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if _, _, err := n.hold(short, "pod"); err == nil || !strings.Contains(err.Error(), "still runs") {
		t.Errorf("while the plugin runs: %v", err)
	}
	begin := time.Now()
	_, lock, err = n.hold(t.Context(), "pod")
	if err != nil {
		t.Fatal(err)
	}
	lock.Close()
	if took := time.Since(begin); took < 100*time.Millisecond {
		t.Errorf("the lock was free after %s", took)
	}
	if err := plugin.Wait(); err != nil {
		t.Error(err)
	}
	if err := n.dropLock("pod"); err != nil {
		t.Error(err)
	}
}
