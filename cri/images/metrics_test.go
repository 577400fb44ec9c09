package images

import (
	"regexp"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/varve-cri/varve/e2e/testimage"
	"github.com/varve-cri/varve/e2e/testregistry"
	"github.com/varve-cri/varve/imagestore"
	"github.com/varve-cri/varve/imagestore/registry"
)

var metricLine = regexp.MustCompile(`^([a-z_]+)(\{[a-z]+="[^"]*"\})? [0-9.e+-]+$`)

func TestMetrics(t *testing.T) {
	r, err := testregistry.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	image, err := testimage.Build(testimage.Spec{Config: v1.Config{}, Layers: [][]testimage.File{{{Name: "f", Body: "hello"}}}})
	if err == nil {
		err = r.Push("app:1", image)
	}
	if err != nil {
		t.Fatal(err)
	}
	store, err := imagestore.Open(imagestore.Config{Root: t.TempDir(), Registries: registry.Rules{r.Host: {PlainHTTP: true}}})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	for ref, ok := range map[string]bool{"/app:1": true, "/app:2": false} {
		if _, err := store.Pull(t.Context(), r.Host+ref, imagestore.PullOptions{}); (err == nil) != ok {
			t.Errorf("%s: %v", ref, err)
		}
	}
	var b strings.Builder
	WriteMetrics(&b, store)
	text := b.String()
	for _, want := range []string{
		"varve_pulls_running 0\n", `varve_pulls_total{result="done"} 1` + "\n", `varve_pulls_total{result="not_found"} 1` + "\n",
		"varve_images 1\n", "varve_layers 1\n", "varve_layers_damaged 0\n", "varve_orphans 0\n", "varve_damaged_layers 0\n", "varve_pull_resumes_total 0\n",
		`varve_pull_seconds_bucket{le="+Inf"} 2` + "\n", "varve_pull_seconds_count 2\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("lacks %q:\n%s", want, text)
		}
	}
	for _, nonzero := range []string{"varve_pull_fetched_bytes_total", "varve_pull_unpacked_bytes_total", "varve_store_bytes", "varve_store_inodes"} {
		if strings.Contains(text, "\n"+nonzero+" 0\n") || !strings.Contains(text, "\n"+nonzero+" ") {
			t.Errorf("%s is zero or missing", nonzero)
		}
	}
	declared := ""
	for line := range strings.Lines(strings.TrimSpace(text)) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "# TYPE "); ok {
			declared, _, _ = strings.Cut(name, " ")
			continue
		}
		m := metricLine.FindStringSubmatch(line)
		if strings.HasPrefix(line, "# HELP ") {
			continue
		}
		if m == nil || !strings.HasPrefix(m[1], declared) {
			t.Errorf("after the type of %q: %q", declared, line)
		}
	}
}
