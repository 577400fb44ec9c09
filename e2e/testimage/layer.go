package testimage

import (
	"archive/tar"
	"bytes"
	"io"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// File is one entry of a layer, written as it is: names are not cleaned, so
// that hostile layers can be made with the same type.
type File struct {
	Name     string
	Body     string
	Type     byte // a tar type flag; 0 is a regular file, or a directory when Name ends in /
	Mode     int64
	Link     string
	UID, GID int
	Major    int64
	Minor    int64
	Xattrs   map[string]string
}

// Dir is a directory entry.
func Dir(name string) File { return File{Name: name + "/", Type: tar.TypeDir, Mode: 0o755} }

// Symlink is a symbolic link at name that says target.
func Symlink(name, target string) File {
	return File{Name: name, Type: tar.TypeSymlink, Link: target, Mode: 0o777}
}

// Hardlink is a hard link at name to the entry target.
func Hardlink(name, target string) File {
	return File{Name: name, Type: tar.TypeLink, Link: target, Mode: 0o755}
}

// Executable is a regular file with mode 0755.
func Executable(name string, body []byte) File {
	return File{Name: name, Body: string(body), Mode: 0o755}
}

// Tar is the layer's bytes before compression.
func Tar(files []File) ([]byte, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, f := range files {
		if err := w.WriteHeader(f.header()); err != nil {
			return nil, err
		}
		if _, err := io.WriteString(w, f.Body); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return buf.Bytes(), err
}

func (f File) header() *tar.Header {
	h := &tar.Header{
		Name: f.Name, Typeflag: f.Type, Linkname: f.Link, Size: int64(len(f.Body)), Mode: f.Mode,
		Uid: f.UID, Gid: f.GID, Devmajor: f.Major, Devminor: f.Minor, ModTime: time.Unix(1_700_000_000, 0),
	}
	if h.Typeflag == 0 {
		h.Typeflag = tar.TypeReg
	}
	if h.Mode == 0 {
		h.Mode = 0o644
	}
	for name, value := range f.Xattrs {
		if h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		h.PAXRecords["SCHILY.xattr."+name] = value
	}
	return h
}

// Layer is a gzip-compressed layer of the files.
func Layer(files ...File) (v1.Layer, error) {
	content, err := Tar(files)
	if err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(content)), nil
	})
}
