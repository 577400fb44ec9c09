package entry

import (
	"errors"
	"fmt"
	"path"
	"strings"
)

// ErrClimbs is for names that lead out of the layer.
var ErrClimbs = errors.New("climbs out of the layer")

// Clean gives an archive's name as a path below the root; "" is the root itself.
// Names that climb out are an error, even where clamping them would be harmless.
func Clean(name string) (string, error) {
	if strings.IndexByte(name, 0) >= 0 {
		return "", errors.New("the name holds a NUL byte")
	}
	p := path.Clean(strings.TrimLeft(name, "/"))
	switch {
	case p == ".":
		return "", nil
	case p == "..", strings.HasPrefix(p, "../"):
		return "", ErrClimbs
	}
	return p, nil
}

// Split gives a clean relative path's parent ("" at the top) and last component.
func Split(p string) (up, base string) {
	i := strings.LastIndexByte(p, '/')
	if i < 0 {
		return "", p
	}
	return p[:i], p[i+1:]
}

// Below tells whether the clean path p is at or below the directory dir.
func Below(p, dir string) bool {
	return p == dir || strings.HasPrefix(p, dir+"/")
}

// The names by which a layer's archive says what it hides (OCI image-spec,
// layer.md, "Whiteouts").
const (
	whiteoutPrefix = ".wh."
	opaqueName     = ".wh..wh..opq"
	aufsPrefix     = ".wh..wh." // aufs' own bookkeeping, which old images carry
)

// Beneath tells whether an entry with the parent up is one of another program's
// notes, as what aufs kept in .wh..wh.plnk is. Below a whiteout's own name nothing
// can be: the directory would hide something when the layer is written anew.
func Beneath(up string) (ignored bool, err error) {
	if !strings.Contains(up, whiteoutPrefix) {
		return false, nil
	}
	for component := range strings.SplitSeq(up, "/") {
		switch {
		case strings.HasPrefix(component, aufsPrefix):
			return true, nil
		case strings.HasPrefix(component, whiteoutPrefix):
			return false, fmt.Errorf("the parent %.300q is a whiteout", component)
		}
	}
	return false, nil
}

// Hiding is what an entry's name says about the layers below.
type Hiding int

const (
	// Nothing is hidden: the entry is a file of the layer.
	Nothing Hiding = iota
	// Content of the directory that the entry is in.
	Content
	// Name in that directory.
	Name
	// Ignored entries are another program's notes.
	Ignored
)

// Hides tells what an entry hides by its last component, and the name that it
// hides. A whiteout of no name is an error.
func Hides(base string) (h Hiding, name string, err error) {
	switch {
	case !strings.HasPrefix(base, whiteoutPrefix):
		return Nothing, "", nil
	case base == opaqueName:
		return Content, "", nil
	case strings.HasPrefix(base, aufsPrefix):
		return Ignored, "", nil
	}
	name = strings.TrimPrefix(base, whiteoutPrefix)
	if name == "" || name == "." || name == ".." {
		return Name, "", errors.New("whiteout of no name")
	}
	return Name, name, nil
}
