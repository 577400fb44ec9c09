package host

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/cri/config"
)

func TestRead(t *testing.T) {
	cfg := config.Default()
	h, notes, err := Read(cfg, Cgroups{})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.IsSorted(h.Capabilities) {
		t.Errorf("capabilities %v are not sorted", h.Capabilities)
	}
	weak := !slices.Contains(h.Capabilities, "CAP_SYS_RESOURCE")
	if h.Restrict.OOMScoreAdj != weak || h.Restrict.Rlimits != weak || !h.Restrict.Capabilities {
		t.Errorf("auto is %+v with CAP_SYS_RESOURCE missing: %v", h.Restrict, weak)
	}
	if weak && len(notes) == 0 {
		t.Error("a restricted node says nothing")
	}
	if h.Rlimits["nofile"] == 0 || len(h.Rlimits) != len(config.RlimitNames) {
		t.Errorf("rlimits %v", h.Rlimits)
	}

	cfg.Limits.RestrictOOMScoreAdj, cfg.Limits.RestrictRlimits, cfg.Limits.RestrictCapabilities = config.Off, config.On, config.Off
	h, _, err = Read(cfg, Cgroups{Unified: []string{"memory"}, SwapLimit: true})
	if err != nil {
		t.Fatal(err)
	}
	if h.Restrict.OOMScoreAdj || !h.Restrict.Rlimits || h.Restrict.Capabilities || !slices.Equal(h.Unified, []string{"memory"}) || !h.SwapLimit {
		t.Errorf("explicit choices came to %+v", h)
	}
}

func TestDevices(t *testing.T) {
	var d Devices
	got, err := d.Find("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[0].Type != "c" || got[0].Major != 1 || got[0].Minor != 3 || got[0].Path != "/dev/null" {
		t.Errorf("/dev/null is %+v", got)
	}
	for _, path := range []string{"/dev/no-such-device", "/etc/passwd", t.TempDir()} {
		if got, err := d.Find(path); err == nil {
			t.Errorf("%s is %+v", path, got)
		}
	}
}

func TestDevicesOfADirectory(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(dir+"/sub/pts", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir+"/pts", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"a", "sub/b", "sub/pts/c", "pts/0", "console"} {
		if err := unix.Mknod(filepath.Join(dir, p), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))); err != nil {
			t.Skipf("this node cannot make device nodes: %v", err)
		}
	}
	if err := os.Symlink("a", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	paths := func(all bool) (out []string) {
		list, err := Devices{Dir: dir}.Find(dir)
		if all {
			list, err = Devices{Dir: dir}.All()
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range list {
			rel, _ := filepath.Rel(dir, d.Path)
			out = append(out, rel)
		}
		slices.Sort(out)
		return out
	}
	for _, outside := range []string{filepath.Dir(dir), dir + "/..", "/"} {
		if got, err := (Devices{Dir: dir}).Find(outside); err == nil || !strings.Contains(err.Error(), "outside of "+dir) {
			t.Errorf("%s is %+v, %v", outside, got, err)
		}
	}
	if got, want := paths(true), []string{"a", "sub/b", "sub/pts/c"}; !slices.Equal(got, want) {
		t.Errorf("All is %v, want %v", got, want)
	}
	if got, want := paths(false), []string{"a", "console", "pts/0", "sub/b", "sub/pts/c"}; !slices.Equal(got, want) {
		t.Errorf("Find is %v, want %v", got, want)
	}
}

func TestThermalThrottle(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{"cpu0/thermal_throttle", "cpu11/thermal_throttle", "cpu2", "cpufreq/thermal_throttle"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := thermalThrottle(dir), []string{dir + "/cpu0/thermal_throttle", dir + "/cpu11/thermal_throttle"}; !slices.Equal(got, want) {
		t.Errorf("found %v, want %v", got, want)
	}
}
