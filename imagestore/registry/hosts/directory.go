package hosts

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	fileName    = "hosts.toml"
	defaultName = "_default"
	maxFile     = 1 << 20
	// racy is how young a file may be for its time stamp to tell a later change:
	// two writes within one tick of the clock look the same.
	racy = 2 * time.Second
)

// Config is what one directory says. It never changes: a changed file gives
// another Config.
type Config struct {
	// Dir is the directory.
	Dir string
	// Default tells that it is _default, which is for registries that have no
	// directory of their own.
	Default bool
	// Hosts are in the order in which they are asked; the last is the registry's
	// own server.
	Hosts []Host
}

// Directory finds the configuration of registries below its roots.
type Directory struct {
	roots []string
	mu    sync.Mutex
	// cache holds, by directory, what was read last; guarded by mu.
	cache map[string]*cached
}

// cached is a Config with the files that it depends on, as they were.
type cached struct {
	config *Config
	files  map[string]stamp
	young  bool
}

// New gives the configuration below the roots, of which the first that knows a
// registry tells. Roots need not be there.
func New(roots []string) *Directory {
	return &Directory{roots: roots, cache: map[string]*cached{}}
}

// Own gives what a registry's own directory says, or nil when it has none. The
// directory of a name with a port may be host_port_ too, as containerd has it.
func (d *Directory) Own(registry string) (*Config, error) {
	// A registry's name has neither; this makes sure of it.
	if strings.ContainsAny(registry, "/\x00") || strings.HasPrefix(registry, ".") || registry == defaultName {
		return nil, nil
	}
	names := []string{registry}
	if i := strings.LastIndexByte(registry, ':'); i > 0 {
		names = []string{registry[:i] + "_" + registry[i+1:] + "_", registry}
	}
	return d.find(names)
}

// Default gives what _default says, or nil when there is none.
func (d *Directory) Default() (*Config, error) { return d.find([]string{defaultName}) }

func (d *Directory) find(names []string) (*Config, error) {
	for _, root := range d.roots {
		for _, name := range names {
			dir := filepath.Join(root, name)
			info, err := os.Stat(dir)
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("registry configuration: %w", err)
			}
			if !info.IsDir() {
				continue
			}
			return d.read(dir, name == defaultName)
		}
	}
	return nil, nil
}

// read gives the directory's Config, the one from before when nothing changed.
func (d *Directory) read(dir string, byDefault bool) (*Config, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c := d.cache[dir]; c != nil && !c.young && c.current() {
		return c.config, nil
	}
	// The stamps come before the bytes, so that a change in between is seen next time.
	c := &cached{files: map[string]stamp{}, config: &Config{Dir: dir, Default: byDefault}}
	c.note(dir)
	c.note(filepath.Join(dir, fileName))
	hosts, err := load(dir)
	if err != nil {
		delete(d.cache, dir)
		return nil, fmt.Errorf("registry configuration %w", err)
	}
	for _, h := range hosts {
		for _, f := range h.CAs {
			c.note(f)
		}
		for _, pair := range h.Clients {
			c.note(pair[0])
			c.note(pair[1])
		}
	}
	c.config.Hosts = hosts
	d.cache[dir] = c
	return c.config, nil
}

// load reads the directory's hosts.toml or, without one, its certificates.
func load(dir string) ([]Host, error) {
	file := filepath.Join(dir, fileName)
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return certificates(dir)
	}
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file of at most %d bytes", file, maxFile)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if len(data) == 0 {
		return certificates(dir)
	}
	hosts, err := Parse(data, dir)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return hosts, nil
}

// certificates makes the registry's one host from files named as docker names
// them: *.crt are authorities, *.cert a client's certificate with its *.key.
func certificates(dir string) ([]Host, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	h := Host{Server: true, Pull: true, Resolve: true}
	for _, e := range entries {
		file := filepath.Join(dir, e.Name())
		if strings.HasSuffix(file, ".crt") {
			h.CAs = append(h.CAs, file)
		}
		if name, ok := strings.CutSuffix(file, ".cert"); ok {
			pair := [2]string{file}
			if _, err := os.Stat(name + ".key"); err == nil {
				pair[1] = name + ".key"
			}
			h.Clients = append(h.Clients, pair)
		}
	}
	return []Host{h}, nil
}

// stamp tells whether a file is the one from before.
type stamp struct {
	modified time.Time
	size     int64
	inode    uint64
}

func stampOf(file string) (s stamp) {
	info, err := os.Stat(file)
	if err != nil {
		return s
	}
	s.modified, s.size = info.ModTime(), info.Size()
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		s.inode = sys.Ino
	}
	return s
}

func (c *cached) note(file string) {
	if file == "" {
		return
	}
	s := stampOf(file)
	c.files[file] = s
	if time.Since(s.modified) < racy && s.inode != 0 {
		c.young = true
	}
}

func (c *cached) current() bool {
	for file, was := range c.files {
		if stampOf(file) != was {
			return false
		}
	}
	return true
}
