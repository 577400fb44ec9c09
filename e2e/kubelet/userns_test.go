package kubelet

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/e2e/testimage"
	"github.com/varve-cri/varve/e2e/testregistry"
)

// mapped is a pod whose ids the kubelet chooses, with volumes that it has mapped,
// and procfs without masks in one of its containers.
const mapped = `apiVersion: v1
kind: Pod
metadata: {name: mapped, namespace: default}
spec:
  hostUsers: false
  terminationGracePeriodSeconds: 0
  containers:
  - name: one
    image: registry.test/probe:1
    args: [serve, ":80", kubelet-test-mapped]
    readinessProbe: {exec: {command: [/bin/probe, write, /scratch/one, x, +, cat, /host/note, /info/name, +, chown, /scratch/one, "5", "6"]}, periodSeconds: 1, timeoutSeconds: 60}
    volumeMounts: &volumes
    - {name: scratch, mountPath: /scratch}
    - {name: host, mountPath: /host}
    - {name: info, mountPath: /info}
  - name: two
    image: registry.test/probe:1
    args: [sleep]
    securityContext: {procMount: Unmasked, runAsUser: 1000}
    readinessProbe: {exec: {command: [/bin/probe, cat, /proc/self/uid_map, /scratch/one]}, periodSeconds: 1, timeoutSeconds: 60}
    volumeMounts: *volumes
  volumes:
  - name: scratch
    emptyDir: {}
  - name: host
    hostPath: {path: %q}
  - name: info
    downwardAPI: {items: [{path: name, fieldRef: {fieldPath: metadata.name}}]}
`

// TestUserNamespace has a kubelet that has seen in the status that it may, choose a
// user namespace for a pod.
func TestUserNamespace(t *testing.T) {
	registry, err := testregistry.Listen("127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { registry.Close() })
	image, err := testimage.Probe(v1.Config{})
	must(t, err)
	must(t, registry.Push("probe:1", image))
	w := newWorld(t, registry.URL())
	host := t.TempDir()
	must(t, os.WriteFile(filepath.Join(host, "note"), []byte("x"), 0o600))
	must(t, os.WriteFile(filepath.Join(w.dir, "manifests/mapped.yaml"), fmt.Appendf(nil, mapped, host), 0o600))
	w.await("the pod is ready", func(ready bool, c map[string]container) bool { return ready && len(c) == 2 })

	pid := w.process("kubelet-test-mapped")
	ids, err := os.ReadFile(fmt.Sprintf("/proc/%d/uid_map", pid))
	must(t, err)
	fields := strings.Fields(string(ids))
	if len(fields) != 3 || fields[0] != "0" || fields[1] == "0" || fields[2] != "65536" {
		t.Errorf("the ids are %s", ids)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	must(t, err)
	if !strings.Contains(string(status), "\nUid:\t"+fields[1]+"\t") {
		t.Errorf("the process is not %s of the host", fields[1])
	}
	// What the container has made its own user's is that user's on the disk.
	made, err := filepath.Glob(filepath.Join(w.dir, "root/pods/*/volumes/*/scratch/one"))
	var st unix.Stat_t
	if err != nil || len(made) != 1 {
		t.Fatalf("%v, %v", made, err)
	}
	if err := unix.Stat(made[0], &st); err != nil || st.Uid != 5 || st.Gid != 6 {
		t.Errorf("%s belongs to %d:%d, %v", made[0], st.Uid, st.Gid, err)
	}
}
