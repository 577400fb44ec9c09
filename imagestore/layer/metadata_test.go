package layer

import (
	"os"
	"path/filepath"
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

// FuzzLoad: whatever lies in a layer's metadata file, it is read or refused, and
// what is read is written as it was.
func FuzzLoad(f *testing.F) {
	f.Add([]byte(`{"id":"sha256:00","tree":"../..","root":{"mode":493},"history":{"created":null},"made":"0000-00-00T00:00:00Z"}`))
	f.Add([]byte(`{"id":"x","diffID":null,"bytes":-1}`))
	f.Add([]byte(`{"made":"9999-12-31T23:59:59.999999999Z","inodes":18446744073709551615,"damaged":{}}`))
	f.Add([]byte("null"))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, metadataName), b, 0o600); err != nil {
			t.Fatal(err)
		}
		m, err := Load(dir)
		if err != nil {
			return
		}
		if err := m.Save(dir); err != nil {
			return // a time that JSON cannot hold
		}
		again, err := Load(dir)
		if err != nil {
			t.Fatalf("what was written is not read: %v", err)
		}
		if err := again.Save(dir); err != nil {
			t.Fatal(err)
		}
		if third, err := Load(dir); err != nil || !reflect.DeepEqual(again, third) {
			t.Fatalf("%+v became %+v, %v", again, third, err)
		}
	})
}
