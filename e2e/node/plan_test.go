package node

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/varve-cri/varve/cri/config"
)

func TestManifestIsTheDefault(t *testing.T) {
	got, err := config.Load("../../manifests/varved.yaml", "")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(config.Default(), got); diff != "" {
		t.Errorf("manifests/varved.yaml differs from the default (-default +manifest):\n%s", diff)
	}
}

// TestPlansDoNotCollide makes two nodes side by side without starting them.
func TestPlansDoNotCollide(t *testing.T) {
	var nodes []*Node
	for range 2 {
		user := filepath.Join(t.TempDir(), "user.yaml")
		if err := os.WriteFile(user, []byte("apiVersion: varve.dev/v1alpha1\nkind: VarvedConfiguration\nlog: {verbosity: 4}\nnetwork: {binDirs: [/x]}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		n, err := Plan(filepath.Join(t.TempDir(), "node"), Options{Mirror: "http://127.0.0.1:1", Config: user})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := n.Down(); err != nil {
				t.Error(err)
			}
			if _, err := os.Stat(n.Dir); err == nil {
				t.Errorf("%s is still there", n.Dir)
			}
		})
		nodes = append(nodes, n)
	}
	a, b := nodes[0].Scope, nodes[1].Scope
	if a.Subnet == b.Subnet || a.Bridge == b.Bridge || a.CgroupParent == b.CgroupParent || a.Network == b.Network {
		t.Errorf("%+v and %+v share something", a, b)
	}
	c, err := config.Load(nodes[0].config, "")
	if err != nil {
		t.Fatal(err)
	}
	if c.Log.Verbosity != 4 || c.Network.BinDirs[0] != "/x" || c.Socket != nodes[0].Socket() || c.Cgroup.Parent != a.CgroupParent {
		t.Errorf("configuration: %+v", c)
	}
	if len(c.Images.Registries) != 1 || !c.Images.Registries[0].MirrorsOnly {
		t.Errorf("registries: %+v", c.Images.Registries)
	}
	if _, err := Plan(nodes[0].Dir, Options{}); err == nil {
		t.Error("a second node in the same directory")
	}
}
