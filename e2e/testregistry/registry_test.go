package testregistry_test

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/varve-cri/varve/e2e/testimage"
	"github.com/varve-cri/varve/e2e/testregistry"
)

// pull fetches the manifest and its first layer as a client without
// credentials would, and checks the layer's digest.
func pull(r *testregistry.Registry, repository, layer string) error {
	if _, err := get(r.URL() + "/v2/" + repository + "/manifests/1"); err != nil {
		return err
	}
	body, err := get(r.URL() + "/v2/" + repository + "/blobs/" + layer)
	if err != nil {
		return err
	}
	if got := fmt.Sprintf("sha256:%x", sha256.Sum256(body)); got != layer {
		return fmt.Errorf("digest of the layer is %s, want %s", got, layer)
	}
	return nil
}

func get(url string) ([]byte, error) {
	answer, err := http.Get(url)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("get %s: %s", url, answer.Status)
	}
	return io.ReadAll(answer.Body)
}

func TestFaultsAreThereForPullersOnly(t *testing.T) {
	r, err := testregistry.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	img, err := testimage.Build(testimage.Spec{
		Config: v1.Config{User: "1000"},
		Layers: [][]testimage.File{{{Name: "etc/note", Body: "hello"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	layer, err := layers[0].Digest()
	if err != nil {
		t.Fatal(err)
	}
	for repository, fault := range map[string]testregistry.Fault{
		"good":    {},
		"gone":    {Status: http.StatusNotFound},
		"secret":  {User: "u", Password: "p"},
		"token":   {User: "u", Password: "p", Token: true},
		"torn":    {Blobs: testregistry.BlobTorn},
		"altered": {Blobs: testregistry.BlobAltered},
	} {
		r.Fault(repository, fault)
		if err := r.Push(repository+":1", img); err != nil {
			t.Fatal(err)
		}
		err := pull(r, repository, layer.String())
		if (err == nil) != (repository == "good") {
			t.Errorf("pull of %s: %v", repository, err)
		}
	}
	if len(r.Requests("good")) == 0 {
		t.Error("no request of the good repository was kept")
	}
}
