package erofs

import (
	"os"
	"sync"
)

// mounts keeps one mount for each stack. A mount is made once however many ask for
// it, and closed when it was dropped and the last one gave it back; the kernel
// keeps its files for overlay mounts on top of it.
type mounts struct {
	mu sync.Mutex
	by map[string]*kept
	// release ends a mount that nobody uses; nil closes its descriptor.
	release func(*os.File)
}

type kept struct {
	done    chan struct{} // closed when file or err is set
	file    *os.File
	err     error
	users   int  // guarded by mounts.mu
	dropped bool // guarded by mounts.mu
}

// take gives the mount under a name, which make makes when there is none. It must
// be given back.
func (m *mounts) take(name string, make func() (*os.File, error)) (*kept, error) {
	m.mu.Lock()
	k, found := m.by[name]
	if !found {
		k = &kept{done: newSignal()}
		if m.by == nil {
			m.by = map[string]*kept{}
		}
		m.by[name] = k
	}
	k.users++
	m.mu.Unlock()
	if !found {
		k.file, k.err = make()
		if k.err != nil {
			m.forget(name, k)
		}
		close(k.done)
	}
	<-k.done
	if k.err != nil {
		m.giveBack(k)
		return nil, k.err
	}
	return k, nil
}

func newSignal() chan struct{} { return make(chan struct{}) }

// giveBack ends one use.
func (m *mounts) giveBack(k *kept) {
	m.mu.Lock()
	k.users--
	last := k.users == 0 && k.dropped
	m.mu.Unlock()
	if last && k.file != nil {
		m.end(k.file)
	}
}

func (m *mounts) end(f *os.File) {
	if m.release != nil {
		m.release(f)
		return
	}
	f.Close()
}

// drop forgets the mount under a name; who uses it at the moment closes it.
func (m *mounts) drop(name string) {
	m.mu.Lock()
	k := m.by[name]
	m.mu.Unlock()
	if k != nil {
		m.forget(name, k)
	}
}

func (m *mounts) forget(name string, k *kept) {
	m.mu.Lock()
	if m.by[name] != k {
		m.mu.Unlock()
		return
	}
	delete(m.by, name)
	k.dropped = true
	idle := k.users == 0
	m.mu.Unlock()
	if idle && k.file != nil {
		m.end(k.file)
	}
}

func (m *mounts) dropAll() {
	m.mu.Lock()
	names := make([]string, 0, len(m.by))
	for name := range m.by {
		names = append(names, name)
	}
	m.mu.Unlock()
	for _, name := range names {
		m.drop(name)
	}
}
