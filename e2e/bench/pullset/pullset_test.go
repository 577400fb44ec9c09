package pullset

import (
	"archive/tar"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
)

var tiny = Spec{Name: "bench/tiny", Layers: []int{3, 1, 2}, Entries: 3000, Bytes: 12 << 20, Noise: 0.1, Big: 0.5}

func makeTiny(t *testing.T) *Image {
	t.Helper()
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	image, err := Make(tiny)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func TestSameBytesEverywhere(t *testing.T) {
	first, second := makeTiny(t), makeTiny(t)
	if string(first.Manifest) != string(second.Manifest) {
		t.Errorf("two makings differ:\n%s\n%s", first.Manifest, second.Manifest)
	}
	again, err := Make(tiny)
	if err != nil || string(again.Manifest) != string(first.Manifest) {
		t.Errorf("from the cache: %v", err)
	}
}

// kinds counts the entries of all layers by what they are.
func kinds(t *testing.T, image *Image) map[string]int {
	t.Helper()
	found := map[string]int{}
	for _, layer := range image.Layers {
		f, err := os.Open(layer.File)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		gz, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		for r := tar.NewReader(gz); ; {
			h, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			found["all"]++
			found["bytes"] += int(h.Size)
			switch {
			case strings.HasSuffix(h.Name, "/.wh..wh..opq"):
				found["opaque"]++
			case strings.Contains(h.Name, "/.wh."):
				found["whiteout"]++
			case h.Size > 1<<20:
				found["big"]++
			default:
				found[string(h.Typeflag)]++
			}
		}
	}
	return found
}

func TestContent(t *testing.T) {
	found := kinds(t, makeTiny(t))
	for _, kind := range []string{"opaque", "whiteout", "big", string(tar.TypeLink), string(tar.TypeSymlink), string(tar.TypeReg), string(tar.TypeDir)} {
		if found[kind] == 0 {
			t.Errorf("no entry of kind %q in %v", kind, found)
		}
	}
	if n := found["all"]; n < tiny.Entries*95/100 || n > tiny.Entries*105/100 {
		t.Errorf("%d entries, want about %d", n, tiny.Entries)
	}
	if n := int64(found["bytes"]); n < tiny.Bytes*9/10 || n > tiny.Bytes*11/10 {
		t.Errorf("%d bytes, want about %d", n, tiny.Bytes)
	}
}

func TestLimit(t *testing.T) {
	image := makeTiny(t)
	if _, err := image.Limit(t.TempDir()); err != nil {
		t.Error(err)
	}
	image.Layers[1].DiffID = image.Layers[0].DiffID
	if _, err := image.Limit(t.TempDir()); err == nil {
		t.Error("a layer that is not what it should be was taken")
	}
}

func TestServe(t *testing.T) {
	image := makeTiny(t)
	server := httptest.NewServer(Handler(http.NotFoundHandler(), image))
	defer server.Close()
	for path, want := range map[string]int{
		"manifests/1": http.StatusOK,
		"blobs/" + image.Layers[2].Digest.String(): http.StatusOK,
		"blobs/sha256:00":                          http.StatusNotFound,
		"../other/manifests/1":                     http.StatusNotFound,
	} {
		answer, err := http.Get(server.URL + "/v2/" + image.Name + "/" + path)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != want {
			t.Errorf("%s: %s, want %d", path, answer.Status, want)
		}
	}
}
