package imagestore

import (
	"archive/tar"
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/varve-cri/varve/e2e/disk"
	"github.com/varve-cri/varve/imagestore/layer/layertest"
)

// powerCut is a store at work on a disk that remembers every write.
type powerCut struct {
	t      *testing.T
	data   string // ext4's data mode
	format string // of layers
	remote *remote
	disk   *disk.Disk
	log    *disk.Log
	root   *os.File // of the file system
	store  *Store

	mu    sync.Mutex
	acts  []act
	trees map[string]digest.Digest // what each image looked like, by id
	ids   map[string]string        // image ids by tag
}

// act is one call that brings an image or takes it away. The power may go before it,
// after it, or in between, and only then may both be found.
type act struct {
	tag      string
	from, to int64 // positions of the log
	there    bool  // afterwards
}

// open opens a store on a file system.
func (p *powerCut) open(root *os.File) (*Store, error) {
	return Open(Config{Root: fmt.Sprintf("/proc/self/fd/%d/store", root.Fd()), Format: p.format, Network: quick, LooseLayers: -1})
}

func newPowerCut(t *testing.T, data, format string) *powerCut {
	t.Helper()
	base, err := disk.Format(32 << 20)
	if err != nil {
		t.Fatal(err)
	}
	p := &powerCut{t: t, data: data, format: format, remote: newRemote(t), trees: map[string]digest.Digest{}, ids: map[string]string{}}
	if p.disk, err = disk.Record(base); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.close)
	return p
}

// close gives back whatever is still there.
func (p *powerCut) close() {
	if p.store != nil {
		if err := p.store.Close(); err != nil {
			p.t.Error(err)
		}
		p.store = nil
	}
	if p.root != nil {
		p.root.Close()
		p.root = nil
	}
	if p.disk != nil {
		if err := p.disk.Close(); err != nil {
			p.t.Error(err)
		}
		p.disk = nil
	}
}

func (p *powerCut) at() int64 {
	at, err := p.disk.Position()
	if err != nil {
		p.t.Error(err)
	}
	return at
}

// do notes when a call on an image was under way.
func (p *powerCut) do(tag string, there bool, call func(ref string) error) {
	from := p.at()
	if err := call(p.remote.host() + "/app:" + tag); err != nil {
		p.t.Errorf("%s: %v", tag, err)
	}
	to := p.at()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.acts = append(p.acts, act{tag, from, to, there})
}

func (p *powerCut) pull(tag string) {
	p.do(tag, true, func(ref string) error {
		image, err := p.store.Pull(p.t.Context(), ref, PullOptions{})
		p.mu.Lock()
		p.ids[tag] = image.ID
		p.mu.Unlock()
		return err
	})
	p.mu.Lock()
	id := p.ids[tag]
	p.mu.Unlock()
	tree, err := treeOf(p.store, id)
	if err != nil {
		p.t.Error(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if was, ok := p.trees[id]; ok && was != tree {
		p.t.Errorf("%s is another tree when it is pulled again", tag)
	}
	p.trees[id] = tree
}

// write writes into a container's root.
func (p *powerCut) write(id string) {
	f, err := p.store.MountRW(id)
	if err != nil {
		p.t.Fatal(err)
	}
	defer f.Close()
	if err := os.WriteFile(fmt.Sprintf("/proc/self/fd/%d/written", f.Fd()), []byte(id), 0o600); err != nil {
		p.t.Error(err)
	}
}

func (p *powerCut) remove(tag string) {
	p.do(tag, false, func(ref string) error { return p.store.Remove(p.t.Context(), ref) })
}

// push makes the images: shared layers, a layer that inherits, a big file, hard links.
func (p *powerCut) push() {
	private := layertest.Dir("home/u", 0o700)
	private.Uid = 1000
	base := layertest.Tar(p.t, layertest.Dir("./", 0o755), layertest.Dir("home", 0o755), private, layertest.File("home/u/old", "old"))
	big := layertest.Tar(p.t, layertest.File("big", string(make([]byte, 700_000))+"end"), layertest.File("small", "s"))
	names := make([]string, 40)
	for i := range names {
		names[i] = fmt.Sprintf("d/f%d", i)
	}
	many := tarOf(p.t, names...)
	for tag, layers := range map[string][][]byte{
		"one":   {base, many},
		"two":   {base, layertest.Tar(p.t, layertest.File("home/u/new", "new"), tar.Header{Name: "link", Typeflag: tar.TypeLink, Linkname: "home/u/old"}), big},
		"three": {many, big},
		"four":  {tarOf(p.t, "four")},
	} {
		p.remote.push("app:"+tag, picture{format: "gzip", layers: layers, cmd: tag})
	}
}

// work is what the store does on the disk.
func (p *powerCut) work(mutate func(*Store)) {
	p.push()
	var err error
	if p.root, err = p.disk.Mount(p.data); err != nil {
		p.t.Fatal(err)
	}
	if p.store, err = p.open(p.root); err != nil {
		p.t.Fatal(err)
	}
	mutate(p.store)
	p.pull("one")
	if err := p.store.CreateRW("c1", p.ids["one"]); err != nil {
		p.t.Error(err)
	}
	p.pull("two")
	var both sync.WaitGroup
	for _, tag := range []string{"three", "four"} {
		both.Go(func() { p.pull(tag) })
	}
	both.Wait()
	p.remove("one") // its layers wait for the container
	if err := p.store.CreateRW("c2", p.ids["two"]); err != nil {
		p.t.Error(err)
	}
	p.write("c2") // overlay marks a layer that it has mounted and not synced
	if err := p.store.RemoveRW("c1"); err != nil {
		p.t.Error(err)
	}
	p.remove("three")
	quiescent(p.store)
	p.pull("one")
	p.remove("four")
	p.pull("three")
	p.pull("four")
	p.remove("two")
	if p.log, err = p.disk.Log(); err != nil {
		p.t.Fatal(err)
	}
	p.close()
}
