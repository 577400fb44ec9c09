package unpack

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os/exec"
	"testing"
)

// GNU tar's sparse files, in its old and its PAX form, come out whole and with
// their holes.
func TestSparse(t *testing.T) {
	from := t.TempDir()
	make := fmt.Sprintf("cd %s && printf head > f && truncate -s 64M f && printf tail >> f", from)
	if out, err := exec.Command("sh", "-c", make).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	for _, format := range []string{"gnu", "pax"} {
		b, err := exec.Command("tar", "-C", from, "--sparse", "--format="+format, "-cf", "-", "f").Output()
		if err != nil {
			t.Fatal(err)
		}
		if len(b) > 1<<20 {
			t.Fatalf("%s: the archive is not sparse", format)
		}
		dir := t.TempDir()
		if _, err := Tree(t.Context(), openDir(t, dir), bytes.NewReader(b), generous); err != nil {
			t.Fatal(err)
		}
		st := lstat(t, dir+"/f")
		got := read(t, dir+"/f")
		if st.Size != 64<<20+4 || got[:4] != "head" || got[64<<20:] != "tail" || st.Blocks*512 > 2<<20 {
			t.Errorf("%s: %d bytes, %d blocks", format, st.Size, st.Blocks)
		}
		// The holes count, or a small layer could fill the disk's addresses.
		if _, err := Tree(t.Context(), openDir(t, t.TempDir()), bytes.NewReader(b), Limits{Bytes: 1 << 20, Entries: 9}); err == nil {
			t.Errorf("%s: holes are beyond the limit, and no error", format)
		}
	}
	long := e{name: "d/" + string(bytes.Repeat([]byte("n"), 250)), body: "x"}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	h := &tar.Header{Name: long.name, Size: 1, Mode: 0o644, Format: tar.FormatGNU}
	if err := w.WriteHeader(h); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if _, err := Tree(t.Context(), openDir(t, dir), &b, generous); err != nil || read(t, dir+"/"+long.name) != "x" {
		t.Errorf("GNU long name: %v", err)
	}
}
