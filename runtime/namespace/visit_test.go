package namespace

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestVisit(t *testing.T) {
	before, first := own(t), pin(t, Spec{Net: true})
	second := pin(t, all())
	file := filepath.Join(t.TempDir(), "net")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	pins := []string{first.Net(), "", file, "/no/such/pin", second.Net(), first.Net()}
	seen := map[int]string{}
	Visit(pins, func(i int) {
		link, err := os.Readlink("/proc/thread-self/ns/net")
		if err != nil {
			t.Error(err)
		}
		dev, err := os.ReadFile("/proc/thread-self/net/dev")
		if err != nil || strings.Count(string(dev), ":") != 1 || !strings.Contains(string(dev), " lo:") {
			t.Errorf("%d: devices %q, %v", i, dev, err)
		}
		seen[i] = link
	})
	if len(seen) != 3 || seen[0] != seen[5] || seen[0] == seen[4] || strings.Contains(before, seen[0]) {
		t.Errorf("seen %v; own %s", seen, before)
	}
	if now := own(t); now != before {
		t.Errorf("the process is in %s, was in %s", now, before)
	}
}

func BenchmarkVisit(b *testing.B) {
	p := pin(b, Spec{Net: true})
	for name, n := range map[string]int{"one": 1, "ten": 10} {
		pins := make([]string, n)
		for i := range pins {
			pins[i] = p.Net()
		}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				Visit(pins, func(int) { _, _ = os.ReadFile("/proc/thread-self/net/dev") })
			}
		})
	}
}
