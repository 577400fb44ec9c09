package kubelet

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/e2e/audit"
	"github.com/varve-cri/varve/e2e/criclient"
	"github.com/varve-cri/varve/e2e/harness"
	"github.com/varve-cri/varve/e2e/node"
)

// world is a node and a kubelet in namespaces of their own.
type world struct {
	t       *testing.T
	dir     string
	node    *node.Node
	port    int
	client  http.Client
	unshare *exec.Cmd
}

// newWorld brings the world up, with the kubelet's feature gates on; it is gone, and audited,
// when the test ends.
func newWorld(t *testing.T, mirror string, gates ...string) *world {
	t.Helper()
	dir, err := os.MkdirTemp("", "varve-kubelet-")
	if err != nil {
		t.Fatal(err)
	}
	built, err := exec.Command("../../hack/kubelet-build.sh").Output()
	if err != nil {
		t.Fatalf("build the kubelet: %v", err)
	}
	w := &world{t: t, dir: dir, port: harness.FreePort(t)}
	w.client = http.Client{Timeout: node.Patience(30 * time.Second), Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // the kubelet's own certificate, on loopback
	}}
	config := fmt.Sprintf(kubeletConfig, dir, w.port)
	if len(gates) > 0 {
		config += "featureGates: {" + strings.Join(gates, ": true, ") + ": true}\n"
	}
	if err := os.WriteFile(filepath.Join(dir, "kubelet.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	w.unshare = exec.Command("unshare", "-m", "-p", "-f", "--mount-proc", "--kill-child",
		"./node.sh", dir, mirror, strings.TrimSpace(string(built)))
	out, err := os.Create(filepath.Join(dir, "script.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	w.unshare.Stdout, w.unshare.Stderr = out, out
	if err := w.unshare.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.end)
	said := func() string { body, _ := os.ReadFile(out.Name()); return string(body) }
	for end := time.Now().Add(node.Patience(3 * time.Minute)); !strings.HasSuffix(said(), "up\n"); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the node is not up: %s", said())
		}
	}
	if w.node, err = node.Load(filepath.Join(dir, "node")); err != nil {
		t.Fatal(err)
	}
	return w
}

// kubeletConfig is the defaults, but that a machine which is short of disk or memory
// while tests run beside each other costs no pod its life.
const kubeletConfig = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix://%[1]s/node/varve.sock
staticPodPath: %[1]s/manifests
podLogsDir: %[1]s/logs
volumePluginDir: %[1]s/plugins
cgroupRoot: "@CGROUP_ROOT@"
cgroupDriver: cgroupfs
failCgroupV1: false
address: 127.0.0.1
port: %[2]d
healthzPort: 0
maxOpenFiles: 20000
fileCheckFrequency: 1s
enableControllerAttachDetach: false
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 0%%, nodefs.available: 0%%, nodefs.inodesFree: 0%%, imagefs.available: 0%%, imagefs.inodesFree: 0%%}
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
`

// inside runs a command in the world's namespaces.
func (w *world) inside(argv ...string) error {
	children := audit.Children(w.unshare.Process.Pid)
	if len(children) == 0 {
		return fmt.Errorf("the world has ended")
	}
	argv = append([]string{"-m", "-p", "-t", fmt.Sprint(children[0])}, argv...)
	if said, err := exec.Command("nsenter", argv...).CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w: %s", argv, err, said)
	}
	return nil
}

// process finds a process by words of its command line, with the host's number.
func (w *world) process(words string) int {
	w.t.Helper()
	for _, p := range w.node.Processes() {
		if strings.Contains(p.Line, words) {
			return p.PID
		}
	}
	w.t.Fatalf("no process %q among %v", words, w.node.Processes())
	return 0
}

func (w *world) signal(words string, signal unix.Signal) {
	w.t.Helper()
	if err := unix.Kill(w.process(words), signal); err != nil {
		w.t.Fatalf("kill %s: %v", words, err)
	}
}

// container is what the kubelet's /pods says of one container.
type container struct {
	Name         string
	ContainerID  string
	Ready        bool
	RestartCount int
	LastState    struct{ Terminated *terminated }
	State        struct{ Running *struct{ StartedAt string } }
}

type terminated struct {
	ExitCode int
	Reason   string
}

// containers asks the kubelet for the containers of the only pod, and whether
// the pod is Ready. A kubelet that does not answer yet has none.
func (w *world) containers() (ready bool, found map[string]container) {
	var pods struct {
		Items []struct {
			Status struct {
				Conditions        []struct{ Type, Status string }
				ContainerStatuses []container
			}
		}
	}
	answer, err := w.client.Get(fmt.Sprintf("https://127.0.0.1:%d/pods", w.port))
	if err != nil {
		return false, nil
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || json.Unmarshal(body, &pods) != nil || len(pods.Items) != 1 {
		return false, nil
	}
	found = map[string]container{}
	for _, c := range pods.Items[0].Status.ContainerStatuses {
		found[c.Name] = c
	}
	for _, c := range pods.Items[0].Status.Conditions {
		ready = ready || c.Type == "Ready" && c.Status == "True"
	}
	return ready, found
}

// figure is one of the kubelet's own metrics; -1 while it is not there.
func (w *world) figure(name string) float64 {
	for line := range strings.Lines(string(w.get("metrics"))) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			if v, err := strconv.ParseFloat(strings.TrimSpace(value), 64); err == nil {
				return v
			}
		}
	}
	return -1
}

// await waits until the kubelet's view is as wanted.
func (w *world) await(what string, wanted func(ready bool, c map[string]container) bool) map[string]container {
	w.t.Helper()
	var last map[string]container
	for end := time.Now().Add(node.Patience(3 * time.Minute)); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		var ready bool
		if ready, last = w.containers(); wanted(ready, last) {
			return last
		}
	}
	w.t.Fatalf("this did not happen in time: %s; containers: %+v", what, last)
	return nil
}

// end takes all down: the kubelet, then, orderly, its pods and the node.
func (w *world) end() {
	if w.t.Failed() {
		w.t.Logf("the kubelet's log ends:\n%s", tail(filepath.Join(w.dir, "kubelet.log")))
		w.t.Logf("varved's log ends:\n%s", tail(filepath.Join(w.dir, "node/varved.log")))
	}
	if w.node != nil {
		// A kubelet that goes on makes its pods, or their groups, again. It is not
		// ended: with it the whole world would end (node.sh waits for it).
		for _, pid := range w.kubelets() {
			unix.Kill(pid, unix.SIGSTOP) //nolint:errcheck // it goes with the world at the latest
		}
		w.drain()
		w.removeKubepods()
		if err := w.inside(abs(w.t, "../../hack/node.sh"), "down", filepath.Join(w.dir, "node")); err != nil {
			w.t.Errorf("node down: %v", err)
		}
	}
	w.unshare.Process.Kill() //nolint:errcheck // it has ended then
	w.unshare.Wait()         //nolint:errcheck // it was killed
	if w.node != nil {
		harness.Eventually(w.t, "nothing is left: "+strings.Join(w.node.Take(), "\n"), func() bool { return len(w.node.Take()) == 0 })
	}
	if err := os.RemoveAll(w.dir); err != nil {
		w.t.Error(err)
	}
}

// kubelets are the processes of this world's kubelet. Nothing on its command
// line names the node.
func (w *world) kubelets() []int {
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	var found []int
	for _, file := range lines {
		line, err := os.ReadFile(file)
		if err == nil && strings.Contains(string(line), "--root-dir\x00"+w.dir) {
			if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file))); err == nil {
				found = append(found, pid)
			}
		}
	}
	return found
}

// drain removes what the kubelet has not come to.
func (w *world) drain() {
	client, err := criclient.Dial(w.node.Socket())
	if err != nil {
		w.t.Error(err)
		return
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), node.Patience(3*time.Minute))
	defer cancel()
	if err := client.Drain(ctx); err != nil {
		w.t.Error(err)
	}
}

// removeKubepods removes the groups that the kubelet made and leaves behind, as
// it does with every runtime. A container's group, named by its id, is varve's
// to remove: it is left for the audit. Groups are busy for a moment after their
// last process, and are tried again.
func (w *world) removeKubepods() {
	tops, _ := filepath.Glob("/sys/fs/cgroup/*" + w.node.CgroupParent + "/kubepods")
	tops = append(tops, "/sys/fs/cgroup"+w.node.CgroupParent+"/kubepods")
	for end := time.Now().Add(node.Patience(time.Minute)); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		busy := false
		for _, top := range tops {
			var groups []string
			filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error { //nolint:errcheck // see the audit
				if err == nil && entry.IsDir() && len(entry.Name()) != 64 {
					groups = append(groups, path)
				}
				return nil
			})
			slices.Reverse(groups)
			for _, group := range groups {
				busy = os.Remove(group) != nil || busy
			}
		}
		if !busy {
			return
		}
	}
}

func abs(t *testing.T, path string) string {
	t.Helper()
	found, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func tail(name string) string {
	body, _ := os.ReadFile(name)
	return string(body[max(0, len(body)-6000):])
}
