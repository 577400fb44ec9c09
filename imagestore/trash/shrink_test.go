package trash

import (
	"os"
	"path/filepath"
	"testing"
)

// Big files are made small before they go, but not under the eyes of who has them.
func TestShrink(t *testing.T) {
	dir := t.TempDir()
	for name, size := range map[string]int64{"big": 5*shrinkStep + 7, "open": 3 * shrinkStep, "small": 100} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(filepath.Join(dir, name), size); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Open(filepath.Join(dir, "open"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	shrink(dir)
	shrink(filepath.Join(dir, "big"))
	shrink(filepath.Join(dir, "none"))
	for name, most := range map[string]int64{"big": shrinkStep, "small": 100, "open": 3 * shrinkStep} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Size() > most || name != "big" && info.Size() != most {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}
