package harness

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/varve-cri/varve/e2e/criclient"
	"github.com/varve-cri/varve/e2e/node"
	"github.com/varve-cri/varve/e2e/testimage"
	"github.com/varve-cri/varve/e2e/testregistry"
)

// Probe is the image that tests run unless they say otherwise.
const Probe = "registry.test/probe:1"

// Suite is the node of one test package.
type Suite struct {
	*criclient.Client
	Node     *node.Node
	Registry *testregistry.Registry
	Dir      string // of the node; tests keep their files in t.TempDir
}

// Main runs a package's tests on a node of their own; call it from TestMain
// and keep the suite in a variable of the package.
func Main(m *testing.M, suite **Suite) {
	code, err := func() (int, error) {
		s, err := Up()
		if err != nil {
			return 1, err
		}
		*suite = s
		code := m.Run()
		return code, s.Down()
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// handlers are the runtime handlers of the node, for the tests of those.
const handlers = `runtime:
  handlers:
    strict:
      seccomp: {unsetProfile: RuntimeDefault}
      rlimits: {core: {soft: 0, hard: 0}, nofile: {soft: 100, hard: 200}}
      defaultCapabilities: [chown, CAP_KILL]
    none: {defaultCapabilities: []}
    groups: {cgroup: {group: grouped, writable: true}}
    overlay: {layerFormat: overlay}
`

// Up starts a registry that holds the Probe image, and a node that pulls
// everything from it.
func Up() (*Suite, error) {
	registry, err := testregistry.Listen("127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	image, err := testimage.Probe(v1.Config{})
	if err != nil {
		return nil, err
	}
	if err := registry.Push("probe:1", image); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "varve-e2e-")
	if err != nil {
		return nil, err
	}
	s := &Suite{Registry: registry, Dir: dir}
	// By its own name the registry gets credentials, which a mirror does not.
	config := filepath.Join(dir, "suite.yaml")
	text := fmt.Sprintf("images: {registries: [{name: %q, plainHTTP: true}], dockerConfig: %[2]s/config.json, credentialHelperDirs: [%[2]s]}\n"+
		"network: {binDirs: [%[2]s/bin, /opt/cni/bin, /usr/lib/cni, /usr/libexec/cni]}\n"+
		"cdi: {specDirs: [%[2]s/cdi-static, %[2]s/cdi]}\n"+handlers, registry.Host, dir)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	if err := Script("node.sh", "up", dir, "--mirror", registry.URL(), "--config", config); err != nil {
		return nil, err
	}
	if s.Node, err = node.Load(dir); err != nil {
		return nil, err
	}
	if s.Client, err = criclient.Dial(s.Node.Socket()); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), node.Patience(3*time.Minute))
	defer cancel()
	return s, s.Pull(ctx, Probe)
}

// Down takes the node away; a leak is an error. When VARVE_E2E_LOGS names a
// directory, the daemon's log is kept there.
func (s *Suite) Down() error {
	defer s.Registry.Close()
	if keep := os.Getenv("VARVE_E2E_LOGS"); keep != "" {
		body, _ := os.ReadFile(s.Node.Log())
		os.WriteFile(filepath.Join(keep, filepath.Base(s.Dir)+".log"), body, 0o600) //nolint:errcheck // a convenience
	}
	s.Close()
	return Script("node.sh", "down", s.Dir)
}

// Kill ends the daemon as a crash does.
func (s *Suite) Kill(t *testing.T) {
	t.Helper()
	pid := s.Node.PID()
	if pid == 0 {
		t.Fatal("varved does not run")
	}
	process, err := os.FindProcess(pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Kill(); err != nil {
		t.Fatalf("kill varved: %v", err)
	}
	Eventually(t, "varved ends", func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return err != nil || strings.Contains(string(stat), ") Z ")
	})
}

// Restart starts the daemon after Kill. A client that asked for something in
// between waits a second or more before it connects again, and fails all requests
// until then: that time is over, too.
func (s *Suite) Restart(t *testing.T) {
	t.Helper()
	if err := Script("node.sh", "start", s.Dir); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), node.Patience(time.Minute))
	defer cancel()
	if err := s.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
}

// Script runs a script of hack/; what it prints is in the error.
func Script(name string, args ...string) error {
	_, file, _, _ := runtime.Caller(0)
	cmd := exec.Command(filepath.Join(filepath.Dir(file), "../../hack", name), args...)
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("hack/%s %s: %w\n%s", name, strings.Join(args, " "), err, said)
	}
	return nil
}

// Eventually waits for something that happens soon, and fails the test when it
// does not. It looks once more after the deadline: a machine may have stood still
// until then.
func Eventually(t *testing.T, what string, happened func() bool) {
	t.Helper()
	for end := time.Now().Add(node.Patience(time.Minute)); ; time.Sleep(10 * time.Millisecond) {
		late := time.Now().After(end)
		if happened() {
			return
		}
		if late {
			t.Fatalf("this did not happen in time: %s", what)
		}
	}
}
