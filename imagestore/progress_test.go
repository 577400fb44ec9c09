package imagestore

import (
	"context"
	"errors"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/varve-cri/varve/imagestore/layer/layertest"
	"github.com/varve-cri/varve/imagestore/progress"
)

// stages are a pull's layers' stages.
func stages(s progress.State) (all []progress.LayerStage) {
	for _, l := range s.Layers {
		all = append(all, l.Stage)
	}
	return all
}

func TestPullTellsItsProgress(t *testing.T) {
	r := newRemote(t)
	s := open(t, func(c *Config) { c.LooseLayers = time.Hour })
	base, app := tarOf(t, "base"), tarOf(t, "app", "d/x")
	_, id := r.push("one:v1", picture{layers: [][]byte{base, app}, format: "gzip"})
	r.push("two:v1", picture{layers: [][]byte{base}, format: "gzip"})
	op := s.Begin(r.host()+"/one:v1", nil)
	watch := op.Watch()
	defer watch.Close()
	if _, err := s.Pull(t.Context(), r.host()+"/one:v1", PullOptions{Operation: op}); err != nil {
		t.Fatal(err)
	}
	got, err := watch.Next(t.Context())
	if err != nil || len(got) != 1 || got[0].Stage != progress.Done || got[0].Image != id.String() || got[0].Fetched != got[0].Total || got[0].Total == 0 {
		t.Fatalf("%+v, %v", got, err)
	}
	for i, plain := range [][]byte{base, app} {
		l := got[0].Layers[i]
		blob := squeeze(t, "gzip", plain)
		if l.Stage != progress.LayerDone || l.Digest != digest.FromBytes(blob).String() || l.Fetched != int64(len(blob)) || l.Unpacked != int64(len(plain)) {
			t.Errorf("layer %d: %+v", i, l)
		}
	}
	pulled(t, s, r.host()+"/two:v1")
	pulled(t, s, r.host()+"/two:v1")
	all := s.Pulls().List()
	if len(all) != 3 || !slices.Equal(stages(all[1]), []progress.LayerStage{progress.LayerPresent}) || all[1].Fetched != 0 || !all[2].Unchanged {
		t.Errorf("%+v", all)
	}
	if t1 := s.Pulls().Totals(); t1.Results["done"] != 2 || t1.Results["unchanged"] != 1 || t1.Fetched != uint64(got[0].Fetched) {
		t.Errorf("totals %+v", t1)
	}
}

// A pull that waits for another's transfer shows that one's bytes.
func TestPullShowsSharedTransfers(t *testing.T) {
	r := newRemote(t)
	s := open(t)
	big := layertest.Tar(t, layertest.Dir("./", 0o755), layertest.File("f", string(make([]byte, 1<<20))))
	r.push("one:v1", picture{layers: [][]byte{big}})
	r.push("two:v1", picture{layers: [][]byte{big}, cmd: "2"})
	half, rest := make(chan struct{}), make(chan struct{})
	r.breaks(slowBlob(digest.FromBytes(big), big, half, rest))
	ends := make(chan error, 2)
	for i, name := range []string{"/one:v1", "/two:v1"} {
		go func() {
			_, err := s.Pull(context.Background(), r.host()+name, PullOptions{})
			ends <- err
		}()
		if i == 0 {
			<-half
		}
	}
	// The registry has sent half: it is counted when the store has read it.
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		all := s.Pulls().List()
		if len(all) == 2 && len(all[1].Layers) == 1 && all[1].Layers[0].Shared && all[1].Layers[0].Fetched > 0 {
			if a, b := all[0].Layers[0], all[1].Layers[0]; a.Shared || b.Stage != progress.LayerFetching || b.Fetched >= b.Total {
				t.Errorf("%+v and %+v", a, b)
			}
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%+v", all)
		}
	}
	close(rest)
	for range 2 {
		if err := <-ends; err != nil {
			t.Error(err)
		}
	}
	for _, p := range s.Pulls().List() {
		if p.Layers[0].Stage != progress.LayerDone || p.Fetched != p.Total {
			t.Errorf("at the end: %+v", p)
		}
	}
}

// slowBlob gives half of a blob, says so, and waits.
func slowBlob(d digest.Digest, content []byte, half, rest chan struct{}) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, q *http.Request) bool {
		if q.Method != http.MethodGet || q.URL.Path[max(0, len(q.URL.Path)-len(d)):] != d.String() {
			return false
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(content)))
		_, _ = w.Write(content[:len(content)/2])
		_ = http.NewResponseController(w).Flush()
		close(half)
		select {
		case <-rest:
			_, _ = w.Write(content[len(content)/2:])
		case <-q.Context().Done():
		}
		return true
	}
}

// A failed pull is told with its kind, retries and resumes are counted.
func TestPullTellsItsTroubles(t *testing.T) {
	r := newRemote(t)
	s := open(t)
	plain := layertest.Tar(t, layertest.Dir("./", 0o755), layertest.File("f", string(make([]byte, 1<<20))))
	r.push("app:v1", picture{layers: [][]byte{plain}})
	var manifests, blobs atomic.Int32
	d := digest.FromBytes(plain).String()
	r.breaks(func(w http.ResponseWriter, q *http.Request) bool {
		switch {
		case q.URL.Path == "/v2/app/manifests/v1" && manifests.Add(1) == 1:
			w.WriteHeader(http.StatusBadGateway)
			return true
		case q.URL.Path == "/v2/app/blobs/"+d && blobs.Add(1) == 1:
			w.Header().Set("Content-Length", strconv.Itoa(len(plain)))
			_, _ = w.Write(plain[:len(plain)/2])
			panic(http.ErrAbortHandler)
		}
		return false
	})
	pulled(t, s, r.host()+"/app:v1")
	if _, err := s.Pull(t.Context(), r.host()+"/app:v2", PullOptions{}); err == nil {
		t.Fatal("there is no v2")
	}
	all := s.Pulls().List()
	if !strings.Contains(all[0].Trouble, "502 Bad Gateway; again in") || all[0].Layers[0].Trouble == "" {
		t.Errorf("troubles %q and %q", all[0].Trouble, all[0].Layers[0].Trouble)
	}
	if all[0].Retries != 1 || all[0].Resumes != 1 || all[0].Layers[0].Resumes != 1 || all[0].Fetched != all[0].Total {
		t.Errorf("%+v", all[0])
	}
	if all[1].Stage != progress.Failed || all[1].Kind != NotFound || all[1].Error == "" {
		t.Errorf("%+v", all[1])
	}
}

// The end of the caller's context ends the transfer: the registry cannot send on. It
// would take half a minute for what is left.
func TestCancelEndsTheTransfer(t *testing.T) {
	r := newRemote(t)
	s := open(t)
	plain := layertest.Tar(t, layertest.Dir("./", 0o755), layertest.File("f", string(make([]byte, 16<<20))))
	r.push("app:v1", picture{layers: [][]byte{plain}})
	const piece, fast = 64 << 10, 1 << 20
	begun, sent := make(chan struct{}), make(chan int, 1)
	d := digest.FromBytes(plain).String()
	r.breaks(func(w http.ResponseWriter, q *http.Request) bool {
		if q.URL.Path != "/v2/app/blobs/"+d {
			return false
		}
		at := 0
		defer func() { sent <- at }()
		w.Header().Set("Content-Length", strconv.Itoa(len(plain)))
		for ; at < len(plain); at += piece {
			if at == fast {
				close(begun)
			}
			if at >= fast {
				time.Sleep(100 * time.Millisecond)
			}
			if _, err := w.Write(plain[at:min(at+piece, len(plain))]); err != nil || q.Context().Err() != nil {
				return true
			}
		}
		return true
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := s.Pull(ctx, r.host()+"/app:v1", PullOptions{})
		ended <- err
	}()
	<-begun
	cancel()
	if err := <-ended; kind(err) != Canceled || !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if n := <-sent; n >= len(plain) {
		t.Errorf("the registry sent all %d bytes", n)
	}
	if got := s.Pulls().List()[0]; got.Stage != progress.Failed || got.Kind != Canceled || got.Layers[0].Stage != progress.LayerFailed {
		t.Errorf("%+v", got)
	}
	s.layers.Wait()
	clean(t, s)
}

func TestLayersAndOrphans(t *testing.T) {
	r := newRemote(t)
	s := open(t, func(c *Config) { c.LooseLayers = time.Hour })
	base := tarOf(t, "base")
	_, one := r.push("one:v1", picture{layers: [][]byte{base, tarOf(t, "app")}})
	_, two := r.push("two:v1", picture{layers: [][]byte{base}})
	pulled(t, s, r.host()+"/one:v1")
	pulled(t, s, r.host()+"/two:v1")
	if err := s.CreateRW("c1", one.String()); err != nil {
		t.Fatal(err)
	}
	layers := s.Layers()
	if len(layers) != 2 || layers[0].Parent != "" || layers[1].Parent != layers[0].ID || layers[1].History.CreatedBy != "layer 1" {
		t.Fatalf("%+v", layers)
	}
	both := []string{one.String(), two.String()}
	slices.Sort(both)
	if !slices.Equal(layers[0].Images, both) || !slices.Equal(layers[1].Images, []string{one.String()}) {
		t.Errorf("images %v and %v", layers[0].Images, layers[1].Images)
	}
	if got, err := s.Orphans(); err != nil || len(got) > 0 {
		t.Errorf("orphans %v, %v", got, err)
	}
	for _, dir := range []string{"layers/stray", "stacks/stray", "rw/stray"} {
		if err := os.Mkdir(s.path(dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := s.Orphans(); err != nil || !slices.Equal(got, []string{"layers/stray", "stacks/stray", "rw/stray"}) {
		t.Errorf("orphans %v, %v", got, err)
	}
}
