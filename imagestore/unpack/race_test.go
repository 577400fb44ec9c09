package unpack

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// CVE-2025-47290: while an archive is unpacked, its directories turn into links
// that lead out and back again, as fast as another processor can. The unpacking
// may fail; nothing outside is made, changed or removed.
func TestCVE_2025_47290_ParentsThatTurnIntoLinks(t *testing.T) {
	outside := t.TempDir()
	if err := os.MkdirAll(outside+"/sub", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"/victim", "/sub/victim"} {
		if err := os.WriteFile(outside+f, []byte("safe"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var entries []e
	for i := range 100 {
		entries = append(entries,
			e{name: "a/b/victim", body: "evil", mode: 0o777}, e{name: fmt.Sprintf("a/b/new%d", i), body: "evil"},
			e{name: "a/b/sub/victim", body: "evil"}, e{name: "a/b/.wh.victim"}, e{name: fmt.Sprintf("a/b/.wh.w%d", i)},
			e{name: "a/b", kind: '5', mode: 0o700}, e{name: "h" + fmt.Sprint(i), kind: '1', link: "a/b/victim"},
			e{name: "a/b/sub/.wh..wh..opq"}, e{name: fmt.Sprintf("x%d/y/z", i), body: "x"})
	}
	whole := archive(t, entries...)
	for round := range 4 {
		dir := t.TempDir()
		if err := os.MkdirAll(dir+"/a/b/sub", 0o755); err != nil {
			t.Fatal(err)
		}
		for link, to := range map[string]string{"/l1": outside, "/l2": "../../../../../../../../../../" + outside} {
			if err := os.Symlink(to, dir+link); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				_ = unix.Renameat2(unix.AT_FDCWD, dir+"/a/b", unix.AT_FDCWD, fmt.Sprintf("%s/l%d", dir, 1+(i+round)%2), unix.RENAME_EXCHANGE)
			}
		})
		_, err := Tree(t.Context(), openDir(t, dir), bytes.NewReader(whole), generous)
		cancel()
		wg.Wait()
		if round == 0 {
			t.Logf("the first round ended with %v", err)
		}
	}
	names, err := filepath.Glob(outside + "/*")
	if err != nil || len(names) != 2 || read(t, outside+"/victim") != "safe" || read(t, outside+"/sub/victim") != "safe" {
		t.Errorf("outside: %v, %v", names, err)
	}
	for _, f := range []string{"/victim", "/sub/victim"} {
		if st := lstat(t, outside+f); st.Mode&0o7777 != 0o600 || st.Nlink != 1 {
			t.Errorf("%s: %o, %d links", f, st.Mode, st.Nlink)
		}
	}
	if st := lstat(t, outside+"/sub"); st.Mode&0o7777 != 0o755 {
		t.Errorf("sub: %o", st.Mode)
	}
	if inside, _ := os.ReadDir(outside + "/sub"); len(inside) != 1 {
		t.Errorf("sub holds %v", inside)
	}
}
