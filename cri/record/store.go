package record

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// ErrNoRecord is a directory that holds no record: what a crash between its
// making and the first save, or in the middle of a removal, leaves behind.
var ErrNoRecord = errors.New("no record")

const (
	podFile       = "pod.json"
	containerFile = "container.json"
)

// Store is the records below one state directory. It holds no state: the
// caller sees to it that each record has one writer.
type Store struct{ dir string }

// Open makes the two directories where they are missing and returns the store.
func Open(stateDir string) (*Store, error) {
	s := &Store{dir: stateDir}
	for _, d := range []string{s.podsDir(), s.containersDir()} {
		// 0700: nothing below is for other users (CVE-2021-41103).
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, fmt.Errorf("record store %s: %w", stateDir, err)
		}
	}
	return s, nil
}

func (s *Store) podsDir() string       { return filepath.Join(s.dir, "pods") }
func (s *Store) containersDir() string { return filepath.Join(s.dir, "containers") }

// PodDir is the directory of a pod: its record, its pinned namespaces, its files.
func (s *Store) PodDir(id string) string { return s.podsDir() + "/" + id }

// ContainerDir is the directory of a container: its record, its shim's files.
func (s *Store) ContainerDir(id string) string { return s.containersDir() + "/" + id }

// SavePod writes the pod's record. After a nil return the record is what a
// restart of the daemon will read.
func (s *Store) SavePod(p *Pod) error {
	data, err := encodePod(p)
	if err == nil {
		err = write(s.PodDir(p.ID), podFile, data)
	}
	if err != nil {
		return fmt.Errorf("record of pod %s: %w", p.ID, err)
	}
	return nil
}

// SaveContainer writes the container's record, as SavePod does for a pod.
func (s *Store) SaveContainer(c *Container) error {
	data, err := encodeContainer(c)
	if err == nil {
		err = write(s.ContainerDir(c.ID), containerFile, data)
	}
	if err != nil {
		return fmt.Errorf("record of container %s: %w", c.ID, err)
	}
	return nil
}

// write puts data at dir/name by rename: a reader, or a restart after a crash
// at any point, sees the old content or the new one. Not synced: see doc.go.
func write(dir, name string, data []byte) error {
	path := dir + "/" + name
	tmp := path + ".tmp"
	err := os.WriteFile(tmp, data, 0o600)
	if errors.Is(err, os.ErrNotExist) {
		if err = os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
		err = os.WriteFile(tmp, data, 0o600)
	}
	if err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// DeletePod removes the pod's directory, its record last, so that a crash in
// the middle leaves a record that says Removing. It is idempotent. Namespaces
// must be unpinned before.
func (s *Store) DeletePod(id string) error {
	if err := remove(s.PodDir(id), podFile); err != nil {
		return fmt.Errorf("record of pod %s: %w", id, err)
	}
	return nil
}

// DeleteContainer removes the container's directory, as DeletePod does for a pod.
func (s *Store) DeleteContainer(id string) error {
	if err := remove(s.ContainerDir(id), containerFile); err != nil {
		return fmt.Errorf("record of container %s: %w", id, err)
	}
	return nil
}

func remove(dir, last string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == last {
			continue
		}
		if err := os.RemoveAll(dir + "/" + e.Name()); err != nil {
			return err
		}
	}
	if err := os.Remove(dir + "/" + last); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// Bad is a directory whose record could not be read.
type Bad struct {
	Kind string // "pod" or "container"
	ID   string // the directory's name
	Path string
	Err  error // ErrNoRecord when there is none
}

// Error names the record, the path and the cause.
func (b Bad) Error() string { return "record of " + b.Kind + " " + b.Path + ": " + b.Err.Error() }

// Unwrap returns the cause.
func (b Bad) Unwrap() error { return b.Err }

// Loaded is all records of a store.
type Loaded struct {
	Pods       []*Pod
	Containers []*Container
	Bad        []Bad
}

// LoadAll reads every record. A record that cannot be read is reported and
// stops nothing; only a store whose directories cannot be listed is an error.
func (s *Store) LoadAll() (Loaded, error) {
	var l Loaded
	err := each(s.podsDir(), podFile, func(id, path string, data []byte, err error) {
		var p *Pod
		if err == nil {
			p, err = decodePod(id, data)
		}
		if err != nil {
			l.Bad = append(l.Bad, Bad{"pod", id, path, err})
			return
		}
		l.Pods = append(l.Pods, p)
	})
	if err != nil {
		return l, err
	}
	err = each(s.containersDir(), containerFile, func(id, path string, data []byte, err error) {
		var c *Container
		if err == nil {
			c, err = decodeContainer(id, data)
		}
		if err != nil {
			l.Bad = append(l.Bad, Bad{"container", id, path, err})
			return
		}
		l.Containers = append(l.Containers, c)
	})
	return l, err
}

// each calls f for the record of every directory below dir.
func each(dir, name string, f func(id, path string, data []byte, err error)) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("record store: %w", err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		path := filepath.Join(dir, e.Name(), name)
		data, err := readCapped(path)
		if errors.Is(err, os.ErrNotExist) {
			err = ErrNoRecord
		}
		f(e.Name(), path, data, err)
	}
	return nil
}
