package overlay

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/varve-cri/varve/imagestore/layer"
	"github.com/varve-cri/varve/imagestore/layer/layertest"
)

func TestDriver(t *testing.T) {
	layertest.Run(t, func(scratch string) (layer.Driver, error) { return New(scratch) })
}

// Each way of mounting is tried, also those that this kernel does not need.
func TestDriverEachAPI(t *testing.T) {
	for _, api := range mountAPIs {
		t.Run(api.name, func(t *testing.T) {
			layertest.Run(t, func(scratch string) (layer.Driver, error) {
				d, err := New(scratch)
				if err == nil {
					d.api = api
				}
				return d, err
			})
		})
	}
}

func TestProbePrefersDescriptors(t *testing.T) {
	d, err := New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if d.API() != "lower fds" {
		t.Logf("this kernel mounts by %q", d.API())
	}
}

func TestNothingInTheMountTable(t *testing.T) {
	d, err := New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, api := range mountAPIs {
		f, err := api.mount(options{lower: []string{d.empty, t.TempDir()}})
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
	}
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(b), filepath.Dir(filepath.Dir(d.empty))) {
		t.Errorf("a mount of ours is in the mount table:\n%s", b)
	}
}

func TestHostileLayers(t *testing.T) {
	layertest.RunHostile(t, func(scratch string) (layer.Driver, error) { return New(scratch) })
}

// A label reaches the kernel whatever the way, quoted or not: one without SELinux
// refuses the option, one with it takes this label.
func TestLabel(t *testing.T) {
	d, err := New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	_, without := os.Stat("/sys/fs/selinux/enforce")
	for _, api := range mountAPIs[slices.Index(names(mountAPIs), d.api.name):] {
		f, err := api.mount(options{lower: []string{d.empty, t.TempDir()}, label: "system_u:object_r:tmp_t:s0"})
		if err == nil {
			f.Close()
		}
		if (err == nil) == (without != nil) {
			t.Errorf("%s: %v (selinuxfs: %v)", api.name, err, without)
		}
	}
}

func names(list []mountAPI) (out []string) {
	for _, a := range list {
		out = append(out, a.name)
	}
	return out
}
