package cdi

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"tags.cncf.io/container-device-interface/pkg/cdi"
)

// Bounds of what is read: a directory that somebody fills must not fill the
// daemon.
const (
	maxFiles = 1024
	maxBytes = 4 << 20
)

// file is a specification as it was read last.
type file struct {
	stamp stamp
	spec  *cdi.Spec
	err   error
}

// stamp changes whenever a file is replaced or written.
type stamp struct {
	inode    uint64
	size     int64
	modified time.Time
}

// oneLine puts the library's messages into the form of ours.
var oneLine = strings.NewReplacer("failed to parse CDI Spec ", "", "failed to unmarshal CDI Spec: ", "", "failed to ", "cannot ", "failed add ", "", "\n", " ")

// scan gives the specifications that there are now, and what is wrong with the
// others.
func (r *Registry) scan() (specs []*cdi.Spec, bad []error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := map[string]*file{}
	for priority, dir := range r.dirs {
		entries, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			bad = append(bad, err)
			continue
		}
		for _, e := range entries {
			path := filepath.Join(dir, e.Name())
			if ext := filepath.Ext(path); ext != ".json" && ext != ".yaml" {
				continue
			}
			if len(now) >= maxFiles {
				bad = append(bad, fmt.Errorf("%s: more than %d files", path, maxFiles))
				break
			}
			f := read(path, priority, r.files[path])
			if f == nil {
				continue
			}
			now[path] = f
			if f.err != nil {
				bad = append(bad, fmt.Errorf("%s: %w", path, f.err))
				continue
			}
			specs = append(specs, f.spec)
		}
	}
	r.files = now
	return specs, bad
}

// read gives a file, as it was if it has not changed; nil when it has gone.
func read(path string, priority int, before *file) *file {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return &file{err: err}
	case !info.Mode().IsRegular():
		return &file{err: errors.New("is not a regular file")}
	case info.Size() > maxBytes:
		return &file{err: fmt.Errorf("is larger than %d bytes", maxBytes)}
	}
	at := stamp{inode: inode(info), size: info.Size(), modified: info.ModTime()}
	if before != nil && before.stamp == at {
		return before
	}
	f := &file{stamp: at}
	if f.spec, err = cdi.ReadSpec(path, priority); err != nil {
		f.err = errors.New(oneLine.Replace(err.Error()))
	}
	// Of a file written this very moment the next writing may have the same time.
	if time.Since(at.modified) < time.Second {
		f.stamp = stamp{}
	}
	return f
}
