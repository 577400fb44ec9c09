// Package index is the image store's database: images, names and layers.
//
// Reads are snapshots in memory, without locks and without the database; each
// change is one bbolt transaction, which is on the disk before the snapshot that
// shows it is published. The package keeps rows: it decides nothing about them,
// and knows nothing of the files that they describe.
package index

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	bolt "go.etcd.io/bbolt"

	"github.com/varve-cri/varve/imagestore/layer"
	"github.com/varve-cri/varve/imagestore/reference"
)

// Image is one image's row.
type Image struct {
	ID       digest.Digest   `json:"id"` // of the config
	Manifest digest.Digest   `json:"manifest"`
	Layers   []digest.Digest `json:"layers"`  // chain ids, lowest first
	Pulled   time.Time       `json:"pulled"`  // first
	Removed  bool            `json:"removed"` // waits for the last container that uses it
	Format   string          `json:"format"`  // of its layers; a row that says none is of an older store: overlay
	// Annotations are the manifest's, unless they are long.
	Annotations map[string]string `json:"annotations,omitempty"`
	// StackBytes is what the joined stack takes on the disk, in formats that have one.
	StackBytes uint64 `json:"stackBytes,omitempty"`

	// Config is parsed from the content under ID when the database is opened.
	Config     ocispec.Image `json:"-"`
	ConfigSize int           `json:"-"`
}

// Keys gives the keys of the image's layers, lowest first.
func (i *Image) Keys() []layer.Key { return layer.Keys(i.Layers, i.Format) }

// Snapshot is the whole database at one moment. It never changes.
type Snapshot struct {
	Images map[digest.Digest]*Image
	Names  map[string]digest.Digest // "repository:tag" and "repository@digest" to image id
	Layers map[layer.Key]*layer.Metadata
	// Retired are the directories of layers that were replaced, with the containers
	// that may still have them mounted.
	Retired map[string][]string
}

// Index is the database.
type Index struct {
	db *bolt.DB
	// mu serializes changes: the copy of the snapshot, the transaction, and the
	// publication are one step.
	mu      sync.Mutex
	current atomic.Pointer[Snapshot]
}

var (
	imagesBucket  = []byte("images")
	namesBucket   = []byte("names")
	layersBucket  = []byte("layers")
	contentBucket = []byte("content") // configs and manifests, by digest
	retiredBucket = []byte("retired") // containers, by directory
	buckets       = [][]byte{imagesBucket, namesBucket, layersBucket, contentBucket, retiredBucket}
)

// Open opens or makes the database. Rows that cannot be read are dropped and
// told to report; they never keep the store from opening, and neither does a file
// that is damaged as a whole, of which the rest is kept.
func Open(path string, report func(string)) (*Index, error) {
	if err := salvage(path, report); err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: 2 * time.Second, NoFreelistSync: true})
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	x := &Index{db: db}
	s := &Snapshot{Images: map[digest.Digest]*Image{}, Names: map[string]digest.Digest{}, Layers: map[layer.Key]*layer.Metadata{}, Retired: map[string][]string{}}
	err = db.Update(func(tx *bolt.Tx) error {
		for _, b := range buckets {
			if _, err := tx.CreateBucketIfNotExists(b); err != nil {
				return err
			}
		}
		return s.load(tx, report)
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read %s: %w", path, err), db.Close())
	}
	x.current.Store(s)
	return x, nil
}

// isName tells whether a row's text may be the name of a directory of the store:
// from a damaged file it could be a path that leads elsewhere.
func isName(s string) bool {
	return s != "" && s[0] != '.' && !strings.ContainsAny(s, "/\x00") && len(s) < 256
}

// check refuses a row that is not of the key it is under, or names layers by what
// are no digests.
func (i *Image) check(key []byte) error {
	if string(i.ID) != string(key) {
		return errors.New("the row is another image's")
	}
	for _, d := range append([]digest.Digest{i.ID, i.Manifest}, i.Layers...) {
		if err := reference.ValidateDigest(d); d != "" && err != nil {
			return err
		}
	}
	return nil
}

// load reads all rows.
func (s *Snapshot) load(tx *bolt.Tx, report func(string)) error {
	var drop []func() error // a bucket must not change while it is walked
	bad := func(bucket, key []byte, err error) {
		report(fmt.Sprintf("index: %s row %q dropped: %v", bucket, key, err))
		k := append([]byte{}, key...)
		drop = append(drop, func() error { return tx.Bucket(bucket).Delete(k) })
	}
	err := tx.Bucket(layersBucket).ForEach(func(k, v []byte) error {
		m := &layer.Metadata{}
		err := json.Unmarshal(v, m)
		if m.Format == "" {
			m.Format = layer.FormatOverlay
		}
		if err == nil && (m.Key().String() != string(k) || !isName(m.Tree)) {
			err = errors.New("the row is another layer's")
		}
		if err != nil {
			bad(layersBucket, k, err)
			return nil
		}
		s.Layers[m.Key()] = m
		return nil
	})
	if err != nil {
		return err
	}
	err = tx.Bucket(imagesBucket).ForEach(func(k, v []byte) error {
		i := &Image{}
		err := json.Unmarshal(v, i)
		if err == nil {
			config := tx.Bucket(contentBucket).Get(k)
			i.ConfigSize = len(config)
			err = errors.Join(json.Unmarshal(config, &i.Config), i.check(k))
		}
		if i.Format == "" {
			i.Format = layer.FormatOverlay
		}
		if err != nil {
			bad(imagesBucket, k, err)
			return nil
		}
		s.Images[i.ID] = i
		return nil
	})
	if err != nil {
		return err
	}
	err = tx.Bucket(namesBucket).ForEach(func(k, v []byte) error {
		if id := digest.Digest(v); s.Images[id] != nil {
			s.Names[string(k)] = id
		} else {
			bad(namesBucket, k, fmt.Errorf("image %q is not there", v))
		}
		return nil
	})
	if err == nil {
		err = s.loadRetired(tx, bad)
	}
	for _, d := range drop {
		err = errors.Join(err, d())
	}
	return err
}

func (s *Snapshot) loadRetired(tx *bolt.Tx, bad func(bucket, key []byte, err error)) error {
	return tx.Bucket(retiredBucket).ForEach(func(k, v []byte) error {
		containers := []string{}
		if err := json.Unmarshal(v, &containers); err != nil {
			bad(retiredBucket, k, err)
			return nil
		}
		s.Retired[string(k)] = containers
		return nil
	})
}

// Snapshot gives the database as it is now.
func (x *Index) Snapshot() *Snapshot { return x.current.Load() }

// Content gives the bytes of a config or manifest; nil when they are not there.
func (x *Index) Content(d digest.Digest) (b []byte, err error) {
	err = x.db.View(func(tx *bolt.Tx) error {
		if v := tx.Bucket(contentBucket).Get([]byte(d)); v != nil {
			b = append([]byte{}, v...)
		}
		return nil
	})
	return b, err
}

// Close closes the database.
func (x *Index) Close() error { return x.db.Close() }

// Change is one transaction. Its methods change rows; what they change is seen by
// the others at once and by Snapshot when the transaction is on the disk.
type Change struct {
	Snapshot // as it will be
	tx       *bolt.Tx
}

// Update runs fn in one transaction; fn's error undoes all of it.
func (x *Index) Update(fn func(*Change) error) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	was := x.current.Load()
	c := &Change{Snapshot: Snapshot{Images: maps.Clone(was.Images), Names: maps.Clone(was.Names), Layers: maps.Clone(was.Layers), Retired: maps.Clone(was.Retired)}}
	err := x.db.Update(func(tx *bolt.Tx) error {
		c.tx = tx
		return fn(c)
	})
	if err != nil {
		return err
	}
	x.current.Store(&c.Snapshot)
	return nil
}

func (c *Change) put(bucket []byte, key string, value any) error {
	b, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return c.tx.Bucket(bucket).Put([]byte(key), b)
}

// PutImage writes an image's row. The Image must not be changed afterwards.
func (c *Change) PutImage(i *Image) error {
	c.Images[i.ID] = i
	return c.put(imagesBucket, string(i.ID), i)
}

// DeleteImage deletes an image's row, its config and its manifest.
func (c *Change) DeleteImage(id digest.Digest) error {
	i := c.Images[id]
	if i == nil {
		return nil
	}
	delete(c.Images, id)
	content := c.tx.Bucket(contentBucket)
	return errors.Join(c.tx.Bucket(imagesBucket).Delete([]byte(id)), content.Delete([]byte(id)), content.Delete([]byte(i.Manifest)))
}

// PutName points a name at an image.
func (c *Change) PutName(name string, id digest.Digest) error {
	c.Names[name] = id
	return c.tx.Bucket(namesBucket).Put([]byte(name), []byte(id))
}

// DeleteName deletes a name.
func (c *Change) DeleteName(name string) error {
	delete(c.Names, name)
	return c.tx.Bucket(namesBucket).Delete([]byte(name))
}

// PutLayer writes a layer's row. The Metadata must not be changed afterwards.
func (c *Change) PutLayer(m *layer.Metadata) error {
	c.Layers[m.Key()] = m
	return c.put(layersBucket, m.Key().String(), m)
}

// DeleteLayer deletes a layer's row.
func (c *Change) DeleteLayer(k layer.Key) error {
	delete(c.Layers, k)
	return c.tx.Bucket(layersBucket).Delete([]byte(k.String()))
}

// PutRetired keeps the name of a layer's directory that no row has any more.
func (c *Change) PutRetired(tree string, containers []string) error {
	c.Retired[tree] = containers
	return c.put(retiredBucket, tree, containers)
}

// DeleteRetired forgets such a directory.
func (c *Change) DeleteRetired(tree string) error {
	delete(c.Retired, tree)
	return c.tx.Bucket(retiredBucket).Delete([]byte(tree))
}

// PutContent keeps the bytes of a config or manifest.
func (c *Change) PutContent(d digest.Digest, b []byte) error {
	return c.tx.Bucket(contentBucket).Put([]byte(d), b)
}

// DeleteContent deletes the bytes of a config or manifest.
func (c *Change) DeleteContent(d digest.Digest) error {
	return c.tx.Bucket(contentBucket).Delete([]byte(d))
}
