package pod

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/e2e/harness"
)

// flaky is a network plugin that fails at a verb while a file named for it is there.
const flaky = `#!/bin/sh
case $CNI_COMMAND in
VERSION) echo '{"cniVersion":"1.0.0","supportedVersions":["1.0.0"]}'; exit 0 ;;
esac
if [ -e %[1]s/$CNI_COMMAND ]; then
	echo '{"cniVersion":"1.0.0","code":99,"msg":"the flaky plugin says no"}'
	exit 1
fi
[ $CNI_COMMAND != ADD ] || echo '{"cniVersion":"1.0.0"}'
`

// useFlaky puts the plugin into the node's network, before or after its own
// plugins, and returns the directory whose files make it fail.
func useFlaky(h *harness.Test, first bool) string {
	h.T.Helper()
	fails := h.T.TempDir()
	bin := filepath.Join(h.Dir, "bin")
	h.Must(os.MkdirAll(bin, 0o700))
	h.Must(os.WriteFile(filepath.Join(bin, "flaky"), fmt.Appendf(nil, flaky, fails), 0o700))
	confDir := filepath.Join(h.Dir, "cni/net.d")
	body, err := os.ReadFile(filepath.Join(confDir, "10-varve.conflist"))
	h.Must(err)
	var list map[string]any
	h.Must(json.Unmarshal(body, &list))
	plugins := list["plugins"].([]any)
	if first {
		plugins = append([]any{map[string]any{"type": "flaky"}}, plugins...)
	} else {
		plugins = append(plugins, map[string]any{"type": "flaky"})
	}
	list["plugins"] = plugins
	body, err = json.Marshal(list)
	h.Must(err)
	conf := filepath.Join(confDir, "00-flaky.conflist")
	h.Must(os.WriteFile(conf, body, 0o600))
	h.T.Cleanup(func() {
		h.Must(os.Remove(conf))
		h.Must(os.RemoveAll(bin))
	})
	return fails
}

func TestNetworkFailsInADD(t *testing.T) {
	h := suite.Test(t)
	fails := useFlaky(h, false)
	h.Must(os.WriteFile(filepath.Join(fails, "ADD"), nil, 0o600))
	for range 3 {
		_, err := h.RunPodSandbox(h.Ctx, &runtimeapi.RunPodSandboxRequest{Config: h.PodConfig(harness.OwnNetwork)})
		if err == nil || !strings.Contains(err.Error(), "flaky") || !strings.Contains(err.Error(), "says no") {
			t.Errorf("got %v", err)
		}
	}
	answer, err := h.ListPodSandbox(h.Ctx, &runtimeapi.ListPodSandboxRequest{})
	h.Must(err)
	if len(answer.GetItems()) > 0 {
		t.Errorf("pods that never ran: %v", answer.GetItems())
	}
}

func TestNetworkFailsInDEL(t *testing.T) {
	h := suite.Test(t)
	fails := useFlaky(h, true)
	pod := h.Pod(harness.OwnNetwork)
	verb := filepath.Join(fails, "DEL")
	h.Must(os.WriteFile(verb, nil, 0o600))
	if _, err := h.StopPodSandbox(h.Ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: pod.ID}); err != nil && !strings.Contains(err.Error(), "flaky") {
		t.Errorf("stop: %v", err)
	}
	h.Must(os.Remove(verb))
	// What was owed is done now, whoever asks for it.
	h.Must(h.RemovePod(h.Ctx, pod.ID))
}
