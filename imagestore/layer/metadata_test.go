package layer

import (
	"reflect"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-cri/varve/imagestore/unpack"
)

func TestMetadata(t *testing.T) {
	dir := t.TempDir()
	m := Metadata{
		ID: digest.FromString("id"), Parent: digest.FromString("p"), Diff: digest.FromString("d"), Tree: "t", Format: "overlay",
		Blob: digest.FromString("b"), BlobSize: 1, MediaType: "m", TarSize: 2, Bytes: 3, Inodes: 4,
		Root: &unpack.Attributes{Mode: 0o755, UID: 1, GID: 2}, History: &ocispec.History{CreatedBy: "x"}, Made: time.Unix(9, 0).UTC(),
	}
	if err := m.Save(dir); err != nil {
		t.Fatal(err)
	}
	got, err := Load(dir)
	if err != nil || !reflect.DeepEqual(got, m) {
		t.Errorf("%+v, %v, want %+v", got, err, m)
	}
	if _, err := Load(dir + "/none"); err == nil {
		t.Error("metadata out of nothing")
	}
}
