package admin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/varve-cri/varve/cri/admin"
	"github.com/varve-cri/varve/cri/admin/client"
	"github.com/varve-cri/varve/cri/admin/wire"
	"github.com/varve-cri/varve/cri/step"
	"github.com/varve-cri/varve/e2e/testimage"
	"github.com/varve-cri/varve/e2e/testregistry"
	"github.com/varve-cri/varve/imagestore"
	"github.com/varve-cri/varve/imagestore/progress"
	"github.com/varve-cri/varve/imagestore/registry"
)

// node is an admin server over a real store, and a registry.
type node struct {
	*client.Client
	t        *testing.T
	socket   string
	store    *imagestore.Store
	registry *testregistry.Registry
}

func newNode(t *testing.T) *node {
	t.Helper()
	r, err := testregistry.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	store, err := imagestore.Open(imagestore.Config{Root: t.TempDir(), Registries: registry.Rules{r.Host: {PlainHTTP: true}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	socket := filepath.Join(t.TempDir(), "admin.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	reload := func() (changed, restart []string, err error) { return []string{"log.verbosity"}, nil, nil }
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "varve_test 1") })
	s := admin.New(admin.Options{Store: store, Version: "v9", Metrics: metrics, Reload: reload, Live: func() []step.Live {
		return []step.Live{{Op: step.Op{Verb: "StartContainer", Object: "container c", ID: "1"}, Step: "shim", Index: 2, Steps: 5, Since: began}}
	}})
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		if err := errors.Join(s.Close(), <-served); err != nil {
			t.Error(err)
		}
	})
	return &node{client.New(socket), t, socket, store, r}
}

func (n *node) push(ref string, layers ...[]testimage.File) string {
	n.t.Helper()
	img, err := testimage.Build(testimage.Spec{Config: v1.Config{User: ref}, Layers: layers})
	if err == nil {
		err = n.registry.Push(ref, img)
	}
	if err != nil {
		n.t.Fatal(err)
	}
	return n.registry.Host + "/" + ref
}

func file(name string, size int) testimage.File {
	return testimage.File{Name: name, Body: strings.Repeat("x", size)}
}

func nothing(progress.State) error { return nil }

// raw sends bytes as they are and gives the answer's status and error.
func (n *node) raw(method, path, body string) (int, wire.Error) {
	n.t.Helper()
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", n.socket) }}}
	req, err := http.NewRequest(method, "http://x"+path, strings.NewReader(body))
	if err != nil {
		n.t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		n.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	var e wire.Error
	_ = json.Unmarshal(b, &e)
	return resp.StatusCode, e
}

func TestStrictInput(t *testing.T) {
	n := newNode(t)
	for _, c := range []struct {
		method, path, body string
		status             int
		code, words        string
	}{
		{"GET", "/v1/nothing", "", 404, "NotFound", "/v1/nothing"},
		{"GET", "/v2/pulls", "", 404, "NotFound", "/v2/pulls"},
		{"PUT", "/v1/pulls", "", 405, "Unimplemented", "PUT"},
		{"GET", "/v1/pulls?wacht=1", "", 400, "InvalidArgument", "wacht"},
		{"GET", "/v1/pulls?watch=yes", "", 400, "InvalidArgument", "watch"},
		{"GET", "/v1/pulls?watch=1&watch=0", "", 400, "InvalidArgument", "more than once"},
		{"GET", "/v1/store?x=%zz", "", 400, "InvalidArgument", "query"},
		{"POST", "/v1/pulls", "", 400, "InvalidArgument", "body"},
		{"POST", "/v1/pulls", `{"image":"a","plattform":"linux/arm64"}`, 400, "InvalidArgument", "plattform"},
		{"POST", "/v1/pulls", `{"image":"a"}{}`, 400, "InvalidArgument", "after its end"},
		{"POST", "/v1/pulls", `{"image":""}`, 400, "InvalidArgument", "image"},
		{"POST", "/v1/pulls", `{"image":"UPPER case"}`, 400, "InvalidArgument", "image"},
		{"POST", "/v1/pulls", `{"image":"a","platform":"linux"}`, 400, "InvalidArgument", "platform"},
		{"POST", "/v1/pulls", `{"image":"` + strings.Repeat("a", 70<<10) + `"}`, 413, "InvalidArgument", "too large"},
		{"GET", "/v1/images?ref=nobody", "", 404, "NotFound", "nobody"},
		{"GET", "/v1/layers?ref=", "", 400, "InvalidArgument", "ref"},
		{"GET", "/v1/history", "", 400, "InvalidArgument", "ref"},
		{"GET", "/v1/history?ref=nobody", "", 404, "NotFound", "nobody"},
	} {
		status, said := n.raw(c.method, c.path, c.body)
		if status != c.status || said.Code != c.code || !strings.Contains(said.Error, c.words) {
			t.Errorf("%s %s %.60s: %d %+v, want %d %s with %q", c.method, c.path, c.body, status, said, c.status, c.code, c.words)
		}
	}
	if all := n.store.Pulls().List(); len(all) != 0 {
		t.Errorf("a refused request began a pull: %+v", all)
	}
}

func TestPullStreams(t *testing.T) {
	n := newNode(t)
	ref := n.push("app:1", []testimage.File{file("a", 1<<20)}, []testimage.File{file("b", 10)})
	var stages []progress.Stage
	last, err := n.Pull(t.Context(), wire.PullRequest{Image: ref, Platform: "linux/amd64"}, func(s progress.State) error {
		stages = append(stages, s.Stage)
		return nil
	})
	if err != nil || last.Stage != progress.Done || last.Image == "" || len(last.Layers) != 2 || last.Platform != "linux/amd64" || len(stages) == 0 {
		t.Fatalf("%+v, %v", last, err)
	}
	last, err = n.Pull(t.Context(), wire.PullRequest{Image: n.registry.Host + "/nobody:1"}, nothing)
	if err != nil || last.Stage != progress.Failed || last.Kind != imagestore.NotFound || !strings.Contains(last.Error, "nobody") {
		t.Errorf("%+v, %v", last, err)
	}
	n.registry.Fault("private", testregistry.Fault{User: "me", Password: "secret"})
	private := n.push("private:1", []testimage.File{file("c", 10)})
	for _, c := range []struct {
		auth *wire.Auth
		want progress.Stage
	}{{nil, progress.Failed}, {&wire.Auth{Username: "me", Password: "secret"}, progress.Done}} {
		if last, err := n.Pull(t.Context(), wire.PullRequest{Image: private, Auth: c.auth}, nothing); err != nil || last.Stage != c.want {
			t.Errorf("%+v: %+v, %v", c.auth, last, err)
		}
	}
	pulls, err := n.Pulls(t.Context())
	if err != nil || len(pulls) != 4 || pulls[0].Stage != progress.Done || pulls[1].Stage != progress.Failed {
		t.Errorf("%+v, %v", pulls, err)
	}
	if b, _ := json.Marshal(pulls); bytes.Contains(b, []byte("secret")) {
		t.Errorf("the list tells a password: %s", b)
	}
}

func TestWatchSeesOthersPulls(t *testing.T) {
	n := newNode(t)
	ref := n.push("app:1", []testimage.File{file("a", 100)})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seen, over := make(chan progress.State, 100), make(chan error, 1)
	go func() {
		over <- n.WatchPulls(ctx, func(s progress.State) error { seen <- s; return nil })
	}()
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if _, err := n.store.Pull(t.Context(), ref, imagestore.PullOptions{}); err != nil {
			t.Fatal(err)
		}
		if len(seen) > 0 || time.Now().After(end) {
			break
		}
	}
	select {
	case s := <-seen:
		if s.Reference != ref {
			t.Errorf("%+v", s)
		}
	case <-time.After(time.Minute):
		t.Fatal("the watch saw nothing")
	}
	cancel()
	if err := <-over; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// A client that goes away takes only its own interest with it.
func TestDisconnectCancels(t *testing.T) {
	n := newNode(t)
	n.registry.Fault("slow", testregistry.Fault{Blobs: testregistry.BlobStalled})
	ref := n.push("slow:1", []testimage.File{file("a", 1<<20)})
	fetching := func() int {
		count := 0
		for _, p := range n.store.Pulls().List() {
			if len(p.Layers) == 1 && p.Layers[0].Stage == progress.LayerFetching {
				count++
			}
		}
		return count
	}
	pull := func() (context.CancelFunc, chan error) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			_, err := n.Pull(ctx, wire.PullRequest{Image: ref}, nothing)
			ended <- err
		}()
		return cancel, ended
	}
	leaveA, endA := pull()
	eventually(t, "the first pull fetches", func() bool { return fetching() == 1 })
	leaveB, endB := pull()
	eventually(t, "the second one shares", func() bool { return fetching() == 2 })
	ops, err := n.Operations(t.Context())
	if err != nil || len(ops) != 3 || ops[1].Verb != "Pull" || ops[1].Step != "layers, 0 of 1" || ops[1].Index != 2 {
		t.Errorf("%+v, %v", ops, err)
	}
	leaveA()
	if err := <-endA; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	eventually(t, "one is left", func() bool { return fetching() == 1 })
	leaveB()
	<-endB
	eventually(t, "none is left", func() bool { return n.store.Pulls().Totals().Running == 0 })
	for _, p := range n.store.Pulls().List() {
		if p.Stage != progress.Failed || p.Kind != imagestore.Canceled {
			t.Errorf("%+v", p)
		}
	}
}

func eventually(t *testing.T, what string, happened func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if happened() {
			return
		}
	}
	t.Fatalf("this did not happen in time: %s", what)
}

func TestInventory(t *testing.T) {
	n := newNode(t)
	base := []testimage.File{file("base", 1000)}
	one := n.push("one:1", base, []testimage.File{file("one", 5000)})
	two := n.push("two:1", base)
	for _, ref := range []string{one, two} {
		if last, err := n.Pull(t.Context(), wire.PullRequest{Image: ref}, nothing); err != nil || last.Stage != progress.Done {
			t.Fatalf("%+v, %v", last, err)
		}
	}
	images, err := n.Images(t.Context(), "")
	if err != nil || len(images) != 2 {
		t.Fatalf("%+v, %v", images, err)
	}
	images, err = n.Images(t.Context(), one)
	if err != nil || len(images) != 1 || images[0].Tags[0] != one || len(images[0].Layers) != 2 || images[0].Unique == 0 || images[0].Unique >= images[0].Size {
		t.Errorf("%+v, %v", images, err)
	}
	layers, err := n.Layers(t.Context(), "")
	if err != nil || len(layers) != 2 || len(layers[0].Images) != 2 || layers[1].Parent != layers[0].ID || len(layers[1].Images) != 1 || layers[1].Size == 0 {
		t.Errorf("%+v, %v", layers, err)
	}
	if layers, err = n.Layers(t.Context(), two); err != nil || len(layers) != 1 {
		t.Errorf("%+v, %v", layers, err)
	}
	h, err := n.History(t.Context(), one)
	if err != nil || len(h.Steps) != 2 || h.Steps[0].Layer != images[0].Layers[0] || h.Steps[1].Size == 0 {
		t.Errorf("%+v, %v", h, err)
	}
	s, err := n.Store(t.Context())
	if err != nil || s.Images != 2 || s.Layers != 2 || s.Bytes == 0 || len(s.Orphans) != 0 || s.Format == "" || s.Total == 0 {
		t.Errorf("%+v, %v", s, err)
	}
	if err := os.Mkdir(filepath.Join(s.Root, "layers/stray"), 0o700); err != nil {
		t.Fatal(err)
	}
	if s, err = n.Store(t.Context()); err != nil || len(s.Orphans) != 1 || s.Orphans[0] != "layers/stray" {
		t.Errorf("%+v, %v", s, err)
	}
	v, err := n.Version(t.Context())
	if err != nil || v.Version != "v9" || v.APIs[0] != "v1" {
		t.Errorf("%+v, %v", v, err)
	}
	ops, err := n.Operations(t.Context())
	if err != nil || len(ops) != 1 || ops[0].Verb != "StartContainer" || ops[0].Step != "shim" || ops[0].Steps != 5 {
		t.Errorf("%+v, %v", ops, err)
	}
}

// A layer that is not what was written is told with its images, until a pull has
// fetched it again.
func TestDamagedLayers(t *testing.T) {
	n := newNode(t)
	ref := n.push("app:1", []testimage.File{file("f", 5000)})
	pull := func() {
		if last, err := n.Pull(t.Context(), wire.PullRequest{Image: ref}, nothing); err != nil || last.Stage != progress.Done {
			t.Fatalf("%+v, %v", last, err)
		}
	}
	pull()
	s, err := n.Store(t.Context())
	if err != nil || len(s.Damaged) != 0 {
		t.Fatalf("%+v, %v", s, err)
	}
	layers, err := n.Layers(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	// The layer's biggest file is its content, in every format.
	var biggest string
	var content []byte
	err = filepath.WalkDir(filepath.Join(s.Root, "layers", layers[0].Tree), func(path string, e os.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			var b []byte
			if b, err = os.ReadFile(path); len(b) > len(content) {
				biggest, content = path, b
			}
		}
		return err
	})
	at := bytes.Index(content, []byte("xxxx"))
	if err != nil || at < 0 {
		t.Fatalf("%s: %v", biggest, err)
	}
	content[at] = 'y'
	if err := os.WriteFile(biggest, content, 0o600); err != nil {
		t.Fatal(err)
	}
	n.registry.Fault("app", testregistry.Fault{Status: http.StatusNotFound})
	if err := n.store.CheckLayers(t.Context()); err != nil {
		t.Error(err)
	}
	s, err = n.Store(t.Context())
	if err != nil || len(s.Damaged) != 1 || s.Damaged[0].Layer != layers[0].ID || s.Damaged[0].Images[0] != ref || s.Damaged[0].Problem == "" {
		t.Errorf("%+v, %v", s.Damaged, err)
	}
	n.registry.Fault("app", testregistry.Fault{})
	pull()
	if s, err = n.Store(t.Context()); err != nil || len(s.Damaged) != 0 || len(s.Orphans) != 0 {
		t.Errorf("after the pull: %+v, %v", s, err)
	}
}

// strangerCase makes this test program ask as another user.
const strangerCase = "VARVE_TEST_STRANGER"

func TestMain(m *testing.M) {
	socket := os.Getenv(strangerCase)
	if socket == "" {
		os.Exit(m.Run())
	}
	_, err := client.New(socket).Version(context.Background())
	fmt.Print(err)
}

func TestStrangersAreRefused(t *testing.T) {
	n := newNode(t)
	// The file's mode and the directory's are one fence, this is the other.
	for dir := n.socket; dir != filepath.Clean(os.TempDir()) && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	for uid, want := range map[uint32]string{0: "<nil>", 65534: "user 65534 is not root"} {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), strangerCase+"="+n.socket)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		if said, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(said), want) {
			t.Errorf("user %d: %q, %v, want %q", uid, said, err, want)
		}
	}
}
