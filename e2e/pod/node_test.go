package pod

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/varve-cri/varve/e2e/criclient"
	"github.com/varve-cri/varve/e2e/harness"
)

// TestNodeInADeepDirectory has a socket whose path is longer than a socket's
// address can be, beside the suite's own node.
func TestNodeInADeepDirectory(t *testing.T) {
	top, err := os.MkdirTemp("", "varve-deep-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(top) })
	dir := filepath.Join(top, strings.Repeat("a-deep-directory/", 12)+"node")
	if err := harness.Script("node.sh", "up", dir, "--mirror", suite.Registry.URL()); err != nil {
		t.Fatal(err)
	}
	client, err := criclient.Dial(filepath.Join(dir, "varve.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	deep := &harness.Suite{Client: client, Registry: suite.Registry, Dir: dir, Node: suite.Node}
	if err := deep.Pull(ctx, harness.Probe); err != nil {
		t.Error(err)
	}
	config := (&harness.Test{Suite: deep, T: t, Ctx: ctx}).PodConfig(harness.OwnNetwork)
	if err := oneCycle(&harness.Test{Suite: deep, T: t, Ctx: ctx}, config); err != nil {
		t.Error(err)
	}
	if err := harness.Script("node.sh", "down", dir); err != nil {
		t.Error(err)
	}
}
