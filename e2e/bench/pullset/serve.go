package pullset

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Handler serves images as a registry does, blobs from their files and by
// ranges. What it does not have goes to next.
func Handler(next http.Handler, images ...*Image) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, image := range images {
			if rest, ok := strings.CutPrefix(r.URL.Path, "/v2/"+image.Name+"/"); ok {
				image.serve(w, r, rest)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

func (m *Image) serve(w http.ResponseWriter, r *http.Request, rest string) {
	kind, reference, _ := strings.Cut(rest, "/")
	if kind == "manifests" {
		sum := digest.FromBytes(m.Manifest)
		w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
		w.Header().Set("Docker-Content-Digest", sum.String())
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(m.Manifest))
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Docker-Content-Digest", reference)
	if reference == digest.FromBytes(m.Config).String() {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(m.Config))
		return
	}
	for _, layer := range m.Layers {
		if reference == layer.Digest.String() {
			http.ServeFile(w, r, layer.File)
			return
		}
	}
	http.Error(w, fmt.Sprintf("no %s %s", kind, reference), http.StatusNotFound)
}
