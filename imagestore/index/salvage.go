package index

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/imagestore/reference"
)

// damagedSuffix is added to the name of a damaged database, which is kept.
const damagedSuffix = ".damaged"

// salvage looks at a database before bbolt does. A damaged one is put aside and
// made anew from all rows that can be read, which it tells to report.
func salvage(path string, report func(string)) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	// What another process has open may be half-written now; bbolt waits for it.
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil //nolint:nilerr // bbolt tells it
	}
	st, err := f.Stat()
	if err != nil || st.Size() == 0 {
		return err
	}
	found, problems := best(f, st.Size())
	if len(problems) == 0 {
		return nil
	}
	kept, err := remake(path, found)
	if err != nil {
		return fmt.Errorf("%s is damaged (%s) and cannot be made anew: %w", path, strings.Join(problems, "; "), err)
	}
	report(fmt.Sprintf("index: %s was damaged (%s); %d rows are kept, and the damaged file is %s%s",
		path, strings.Join(problems, "; "), kept, filepath.Base(path), damagedSuffix))
	return nil
}

// best gives the rows of the newest transaction, or of the one before it when only
// that is whole, and what is wrong with the newest.
func best(f io.ReaderAt, size int64) (rows map[string]map[string][]byte, problems []string) {
	var walks []*walk
	metas, problems := readMetas(f)
	for _, m := range metas {
		walks = append(walks, newWalk(f, size, m))
	}
	if len(walks) == 0 {
		return nil, problems
	}
	if len(walks[0].problems) == 0 {
		return walks[0].rows, nil
	}
	for _, w := range walks {
		if len(w.problems) == 0 {
			return w.rows, walks[0].problems
		}
	}
	return walks[0].rows, walks[0].problems
}

// readMetas gives what can be read of the two, newest first.
func readMetas(f io.ReaderAt) (metas []meta, problems []string) {
	first, err := readMeta(f, 0)
	sizes := []int64{first.pageSize}
	if err != nil {
		problems = append(problems, fmt.Sprintf("page 0: %v", err))
		sizes = []int64{4096, 8192, 16384, 32768, 65536}
	} else {
		metas = append(metas, first)
	}
	for _, s := range sizes {
		second, err := readMeta(f, s)
		if err != nil || second.pageSize != s {
			problems = append(problems, fmt.Sprintf("page 1 at %d: %v", s, err))
			continue
		}
		metas = append(metas, second)
	}
	slices.SortFunc(metas, func(a, b meta) int {
		if a.txid > b.txid {
			return -1
		}
		return 1
	})
	return metas, problems
}

// remake writes a database with the rows, and puts the damaged one aside. A crash
// leaves the one or the other, or none under the name, which is an empty one.
func remake(path string, found map[string]map[string][]byte) (kept int, err error) {
	fresh := path + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, err
	}
	db, err := bolt.Open(fresh, 0o600, &bolt.Options{NoFreelistSync: true})
	if err != nil {
		return 0, err
	}
	err = db.Update(func(tx *bolt.Tx) error {
		for _, b := range buckets {
			into, err := tx.CreateBucketIfNotExists(b)
			if err != nil {
				return err
			}
			for key, value := range found[string(b)] {
				if !credible(b, key, value) || into.Put([]byte(key), value) != nil {
					continue
				}
				kept++
			}
		}
		return nil
	})
	if err := errors.Join(err, db.Close()); err != nil {
		return 0, err
	}
	if err := os.Rename(path, path+damagedSuffix); err != nil {
		return 0, err
	}
	return kept, os.Rename(fresh, path)
}

// credible tells whether a row from a damaged file can be what was written: content
// is what its digest says. Of the rest load decides.
func credible(bucket []byte, key string, value []byte) bool {
	if string(bucket) != string(contentBucket) {
		return true
	}
	d := digest.Digest(key)
	return reference.ValidateDigest(d) == nil && d.Algorithm().FromBytes(value) == d
}
