package observe

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/varve-cri/varve/e2e/harness"
)

var suite *harness.Suite

func TestMain(m *testing.M) { harness.Main(m, &suite) }

// configFile is the daemon's.
func configFile() string { return filepath.Join(suite.Dir, "varved.yaml") }

// configure changes the daemon's configuration file for the test's time. It does not
// tell the daemon.
func configure(t *testing.T, change func(c map[string]any)) {
	t.Helper()
	before, err := os.ReadFile(configFile())
	if err != nil {
		t.Fatal(err)
	}
	c := map[string]any{}
	if err := yaml.Unmarshal(before, &c); err != nil {
		t.Fatal(err)
	}
	change(c)
	after, err := yaml.Marshal(c)
	if err == nil {
		err = os.WriteFile(configFile(), after, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.WriteFile(configFile(), before, 0o600); err != nil {
			t.Error(err)
		}
	})
}

// get asks the operator's socket.
func get(t *testing.T, path string) string {
	t.Helper()
	c := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", suite.Node.AdminSocket())
	}}}
	defer c.CloseIdleConnections()
	r, err := c.Get("http://varve" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v: %s", path, r.Status, err, body)
	}
	return string(body)
}

// logSince is what the daemon has logged since at, an earlier size of its log.
func logSince(t *testing.T, at int) string {
	t.Helper()
	body, err := os.ReadFile(suite.Node.Log())
	if err != nil {
		t.Fatal(err)
	}
	return string(body[min(at, len(body)):])
}
