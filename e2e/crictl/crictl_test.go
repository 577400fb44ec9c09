package crictl

import (
	"os/exec"
	"testing"

	"github.com/varve-cri/varve/e2e/harness"
)

var suite *harness.Suite

func TestMain(m *testing.M) { harness.Main(m, &suite) }

func TestCommands(t *testing.T) {
	if _, err := exec.LookPath("crictl"); err != nil {
		t.Skip("crictl is not in PATH")
	}
	h := suite.Test(t)
	out, err := exec.CommandContext(h.Ctx, "./commands.sh", "unix://"+suite.Node.Socket(), harness.Probe).CombinedOutput()
	if err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	t.Logf("%s", out)
}
