package cdi

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/varve-cri/varve/cri/fault"
)

// FuzzSpecification reads any bytes as a specification: what it has can be asked
// for, what is wrong with it is told in one line.
func FuzzSpecification(f *testing.F) {
	f.Add([]byte(gpu))
	f.Add([]byte(`{"cdiVersion":"1.1.0","kind":"v.test/c","devices":[{"name":"d","containerEdits":{"deviceNodes":[{"path":"/dev/x"}]}}]}`))
	f.Add([]byte("kind: &a [*a]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "any.yaml"), data, 0o600); err != nil {
			t.Fatal(err)
		}
		r := New([]string{dir})
		specs, bad := r.scan()
		if len(specs)+len(bad) != 1 {
			t.Errorf("%d specifications, %d that are none", len(specs), len(bad))
		}
		for _, err := range bad {
			if text := err.Error(); strings.Contains(text, "\n") || strings.Contains(text, "failed to") {
				t.Errorf("the error says %q", text)
			}
		}
		for _, s := range specs {
			for _, d := range s.Devices {
				edits, err := r.Resolve(request([]string{s.Kind + "=" + d.Name}))
				var invalid *fault.InvalidError
				if err != nil && !errors.As(err, &invalid) || err == nil && len(edits) != 2 {
					t.Errorf("device %q: %d edits, %v", d.Name, len(edits), err)
				}
			}
		}
	})
}
