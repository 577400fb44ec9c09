package cdi

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/fault"
)

const gpu = `cdiVersion: "0.7.0"
kind: vendor.test/gpu
containerEdits: {env: [ALL=1]}
devices:
- {name: "0", containerEdits: {env: [GPU=0], additionalGids: [44]}}
- {name: "1", containerEdits: {env: [GPU=1]}}
`

// put writes a specification, old enough to be believed the next time.
func put(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	// By rename, as vendors are asked to.
	if err := os.WriteFile(path+".tmp", []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path+".tmp", old, old); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		t.Fatal(err)
	}
}

// resolve gives "device variables..." of each edit.
func resolve(t *testing.T, r *Registry, names ...string) string {
	t.Helper()
	edits, err := r.Resolve(request(names))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range edits {
		out = append(out, e.From+" "+strings.Join(e.Env, " "))
	}
	return strings.Join(out, "; ")
}

func request(names []string) (list []*runtimeapi.CDIDevice) {
	for _, n := range names {
		list = append(list, &runtimeapi.CDIDevice{Name: n})
	}
	return list
}

func TestResolve(t *testing.T) {
	static, dynamic := t.TempDir(), filepath.Join(t.TempDir(), "not-yet")
	r := New([]string{static, dynamic})
	put(t, static, "gpu.yaml", gpu)
	if got, want := resolve(t, r, "vendor.test/gpu=1", "vendor.test/gpu=0", "vendor.test/gpu=1"),
		"vendor.test/gpu ALL=1; vendor.test/gpu=1 GPU=1; vendor.test/gpu=0 GPU=0"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	// The later directory hides the earlier one's device, whatever else its file has.
	put(t, dynamic, "claim.json", `{"cdiVersion":"0.6.0","kind":"vendor.test/gpu","devices":[{"name":"1","containerEdits":{"env":["GPU=claimed"]}}]}`)
	if got, want := resolve(t, r, "vendor.test/gpu=1", "vendor.test/gpu=0"),
		"vendor.test/gpu=1 GPU=claimed; vendor.test/gpu ALL=1; vendor.test/gpu=0 GPU=0"; strings.ReplaceAll(got, "vendor.test/gpu ; ", "") != want {
		t.Errorf("got %s, want %s", got, want)
	}
	put(t, dynamic, "claim.json", strings.ReplaceAll(`{"cdiVersion":"0.6.0","kind":"vendor.test/gpu","devices":[{"name":"1","containerEdits":{"env":["GPU=again"]}}]}`, "\n", ""))
	if got := resolve(t, r, "vendor.test/gpu=1"); !strings.HasSuffix(got, "GPU=again") {
		t.Errorf("after a change: %s", got)
	}
	if err := os.Remove(filepath.Join(dynamic, "claim.json")); err != nil {
		t.Fatal(err)
	}
	if got := resolve(t, r, "vendor.test/gpu=1"); !strings.HasSuffix(got, "GPU=1") {
		t.Errorf("after a removal: %s", got)
	}
}

func TestRefused(t *testing.T) {
	dir := t.TempDir()
	r := New([]string{dir, filepath.Join(dir, "none")})
	put(t, dir, "gpu.yaml", gpu)
	put(t, dir, "same.yaml", strings.ReplaceAll(gpu, `"1"`, `"2"`))
	put(t, dir, "broken.yaml", "cdiVersion: 0.7.0\nkind: vendor.test/nic\nspeed: 9\ndevices: []\n")
	if err := os.Truncate(filepath.Join(dir, "big.json"), 0); err == nil {
		t.Fatal("big.json is there")
	}
	if err := os.WriteFile(filepath.Join(dir, "big.json"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(dir, "big.json"), maxBytes+1); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "directory.yaml"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]string{
		"vendor.test/gpu=7": {"vendor.test/gpu=7 is not a device of this node", dir, "3 cannot be used"},
		"vendor.test/gpu=0": {"is in " + dir + "/gpu.yaml and in " + dir + "/same.yaml"},
		"vendor.test/nic=0": {"vendor.test/nic=0 is not a device"},
		"gpu":               {`"gpu" is not vendor/class=name`},
		"":                  {`"" is not vendor/class=name`},
		"v/c=\n":            {`is not vendor/class=name`},
	} {
		_, err := r.Resolve(request([]string{"vendor.test/gpu=1", name}))
		var bad *fault.InvalidError
		if !errors.As(err, &bad) || bad.Field != "config.CDI_devices[1].name" {
			t.Errorf("%q: %v", name, err)
			continue
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%q: %v, want %s", name, err, w)
			}
		}
	}
	if got := resolve(t, r, "vendor.test/gpu=1"); !strings.Contains(got, "GPU=1") {
		t.Errorf("a device beside broken files: %s", got)
	}
}

// A file that has not changed is not read again, one that is being written is.
func TestScanReadsWhatHasChanged(t *testing.T) {
	dir := t.TempDir()
	r := New([]string{dir})
	put(t, dir, "gpu.yaml", gpu)
	specs, _ := r.scan()
	again, _ := r.scan()
	if len(specs) != 1 || specs[0] != again[0] {
		t.Error("an old file was read twice")
	}
	now := time.Now().Add(time.Hour) // however long this test takes
	if err := os.Chtimes(filepath.Join(dir, "gpu.yaml"), now, now); err != nil {
		t.Fatal(err)
	}
	specs, _ = r.scan()
	if again, _ = r.scan(); specs[0] == again[0] {
		t.Error("a file written just now was believed")
	}
}
