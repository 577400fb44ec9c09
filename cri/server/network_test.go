package server

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// fake is a CNI plugin that succeeds unless a file says otherwise.
const fake = `#!/bin/sh
cat >/dev/null
while [ -e "$0-hangs-at-$CNI_COMMAND" ]; do sleep 0.05; done
if [ -e "$0-refuses-$CNI_COMMAND" ]; then
	echo '{"cniVersion":"1.0.0","code":7,"msg":"not today"}'
	exit 1
fi
[ "$CNI_COMMAND" = ADD ] && echo '{"cniVersion":"1.0.0","ips":[{"address":"10.9.8.7/24"}]}'
exit 0
`

// network gives the node a network of the fake plugin, and returns a switch
// that makes a verb fail.
func (n *node) network() (refuse func(verb string, on bool)) { return n.faultyNetwork("refuses-") }

// faultyNetwork is network with a switch for another fault: "refuses-", or
// "hangs-at-", as long as it is on.
func (n *node) faultyNetwork(fault string) (faulty func(verb string, on bool)) {
	n.t.Helper()
	// A child that the launcher forks meanwhile would hold the program open for
	// writing, and nobody could run it.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	program := filepath.Join(n.cfg.Network.BinDirs[0], "fake")
	for path, content := range map[string]string{
		program: fake,
		filepath.Join(n.cfg.Network.ConfDir, "1.conflist"): `{"cniVersion":"1.0.0","name":"test","plugins":[{"type":"fake"}]}`,
	} {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			n.t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o700); err != nil { //nolint:gosec // one is a program
			n.t.Fatal(err)
		}
	}
	return func(verb string, on bool) {
		n.t.Helper()
		path := program + "-" + fault + verb
		if !on {
			os.Remove(path)
		} else if err := os.WriteFile(path, nil, 0o600); err != nil {
			n.t.Fatal(err)
		}
	}
}

func ownNetwork(c *runtimeapi.PodSandboxConfig) {
	c.Linux.SecurityContext.NamespaceOptions.Network = runtimeapi.NamespaceMode_POD
	c.Hostname = "pod"
}

func TestNetworkRefuses(t *testing.T) {
	n := newNode(t)
	refuse := n.network()
	refuse("ADD", true)
	_, err := n.RunPodSandbox(n.ctx(), &runtimeapi.RunPodSandboxRequest{Config: podConfig(t, ownNetwork)})
	want(t, err, codes.Unknown, "network: network test: add: plugin fake: ADD: not today")
	left, err := os.ReadDir(filepath.Join(n.cfg.StateDir, "pods"))
	if err != nil || len(left) != 0 {
		t.Errorf("left of a pod without a network: %v, %v", left, err)
	}
	refuse("ADD", false)
	pod := n.pod(podConfig(t, ownNetwork))
	st, err := n.PodSandboxStatus(n.ctx(), &runtimeapi.PodSandboxStatusRequest{PodSandboxId: pod})
	if err != nil || st.GetStatus().GetNetwork().GetIp() != "10.9.8.7" {
		t.Errorf("address: %v, %v", st, err)
	}
	refuse("DEL", true)
	_, err = n.StopPodSandbox(n.ctx(), &runtimeapi.StopPodSandboxRequest{PodSandboxId: pod})
	want(t, err, codes.Unknown, "plugin fake: DEL: not today")
	// The pod can go; the address stays owed until the plugin takes it back.
	if _, err := n.RemovePodSandbox(n.ctx(), &runtimeapi.RemovePodSandboxRequest{PodSandboxId: pod}); err != nil {
		t.Fatal(err)
	}
	if owed, _ := n.s.net.Owed(); len(owed) != 1 {
		t.Errorf("owed %v", owed)
	}
	refuse("DEL", false)
	n.paid()
}

// paid waits until no network detach is owed.
func (n *node) paid() {
	n.t.Helper()
	await(n.t, "no network is owed", func() bool {
		owed, _ := n.s.net.Owed()
		return len(owed) == 0
	})
}

func TestRestartPaysDebts(t *testing.T) {
	n := newNode(t)
	refuse := n.network()
	pc := podConfig(t, ownNetwork)
	kept := n.pod(pc)
	pod := n.pod(podConfig(t, ownNetwork))
	refuse("DEL", true)
	n.s.removePodNow(t, pod)
	n.crash()
	refuse("DEL", false)
	n.restart()
	n.paidBut(kept)
	st, err := n.PodSandboxStatus(n.ctx(), &runtimeapi.PodSandboxStatusRequest{PodSandboxId: kept})
	if err != nil || st.GetStatus().GetNetwork().GetIp() != "10.9.8.7" || st.GetStatus().GetState() != runtimeapi.PodSandboxState_SANDBOX_READY {
		t.Errorf("the pod that stayed: %v, %v", st, err)
	}
}

func (n *node) paidBut(pod string) {
	n.t.Helper()
	await(n.t, "the network of "+pod+" alone is owed", func() bool {
		owed, _ := n.s.net.Owed()
		return len(owed) == 1 && owed[0] == pod
	})
}
