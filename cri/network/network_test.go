package network

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// The test binary is also the CNI plugin: it is linked into the plugin folder
// under names that say how it behaves, and writes down each call.
func TestMain(m *testing.M) {
	if os.Getenv("CNI_COMMAND") != "" {
		os.Exit(plugin(filepath.Base(os.Args[0])))
	}
	os.Exit(m.Run())
}

func plugin(name string) int {
	in, _ := io.ReadAll(os.Stdin)
	dir := filepath.Dir(os.Args[0])
	verb := os.Getenv("CNI_COMMAND")
	line := fmt.Sprintf("%s %s netns=%s args=%s %s\n", name, verb, os.Getenv("CNI_NETNS"), os.Getenv("CNI_ARGS"), in)
	f, err := os.OpenFile(filepath.Join(dir, "calls"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return 1
	}
	defer f.Close()
	_, _ = f.WriteString(line)
	if _, err := os.Stat(filepath.Join(dir, "refuse-"+verb)); err == nil {
		fmt.Printf(`{"cniVersion":"1.0.0","code":11,"msg":"no address left","details":"range full"}`)
		return 1
	}
	switch {
	case name == "hangs":
		time.Sleep(time.Hour)
	case name == "dawdles":
		for _, err := os.Stat(filepath.Join(dir, "go-on")); err != nil; _, err = os.Stat(filepath.Join(dir, "go-on")) {
			time.Sleep(time.Millisecond)
		}
		_, _ = f.WriteString("dawdles is done\n")
	case name == "mutters":
		fmt.Fprintln(os.Stderr, "cannot find my friends")
		return 3
	case verb == "ADD":
		fmt.Print(`{"cniVersion":"1.0.0","interfaces":[{"name":"br0"},{"name":"eth0","sandbox":"/x"}],
			"ips":[{"interface":1,"address":"fd00::5/64"},{"interface":1,"address":"10.1.0.5/24"},{"interface":0,"address":"10.1.0.1/24"}]}`)
	case verb == "VERSION":
		fmt.Print(`{"cniVersion":"1.0.0","supportedVersions":["0.4.0","1.0.0"]}`)
	}
	return 0
}

type bench struct {
	*Network
	conf, bin, state string
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{conf: t.TempDir(), bin: t.TempDir(), state: t.TempDir()}
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"works", "hangs", "dawdles", "mutters"} {
		if err := os.WriteFile(filepath.Join(b.bin, name), self, 0o700); err != nil { //nolint:gosec // a program
			t.Fatal(err)
		}
	}
	b.reopen(t)
	return b
}

func (b *bench) reopen(t *testing.T) {
	t.Helper()
	n, err := New(Config{ConfDir: b.conf, BinDirs: []string{b.bin}, StateDir: b.state})
	if err != nil {
		t.Fatal(err)
	}
	b.Network = n
}

func (b *bench) configure(t *testing.T, plugin string) {
	t.Helper()
	text := `{"cniVersion":"1.0.0","name":"net1","plugins":[{"type":"` + plugin + `","capabilities":{"portMappings":true,"dns":true,"bandwidth":true,"ipRanges":true,"io.kubernetes.cri.pod-annotations":true}}]}`
	if err := os.WriteFile(filepath.Join(b.conf, "10-net.conflist"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (b *bench) calls(t *testing.T) []string {
	t.Helper()
	body, err := os.ReadFile(filepath.Join(b.bin, "calls"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(body)), "\n")
}

// whileRuns gives up on a call when the plugin runs: do is called then, and the
// context ends after it.
func (b *bench) whileRuns(t *testing.T, do func()) context.Context {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		for !strings.Contains(b.calls(t)[0], " ADD ") {
			time.Sleep(time.Millisecond)
		}
		cancel(errEnough)
		do()
	}()
	return ctx
}

var errEnough = errors.New("nobody waits any more")

func (b *bench) refuse(t *testing.T, verb string, on bool) {
	t.Helper()
	path := filepath.Join(b.bin, "refuse-"+verb)
	if !on {
		_ = os.Remove(path)
		return
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

func samplePod() Pod {
	return Pod{
		ID: "abc", Name: "web", Namespace: "default", UID: "u1", NetNS: "/proc/self/ns/net",
		Ports:       []Port{{HostPort: 8080, ContainerPort: 80, Protocol: "tcp"}, {ContainerPort: 81, Protocol: "tcp"}},
		DNS:         &DNS{Servers: []string{"10.96.0.10"}},
		Annotations: map[string]string{"kubernetes.io/egress-bandwidth": "10M"},
	}
}

func TestAttachAndDetach(t *testing.T) {
	b := newBench(t)
	b.configure(t, "works")
	if err := b.SetPodCIDR("10.1.0.0/24"); err != nil {
		t.Fatal(err)
	}
	ips, err := b.Attach(t.Context(), samplePod())
	if err != nil {
		t.Fatal(err)
	}
	if len(ips) != 2 || ips[0].String() != "10.1.0.5" || ips[1].String() != "fd00::5" {
		t.Errorf("addresses %v: want the pod's own, IPv4 first", ips)
	}
	call := b.calls(t)[0]
	for _, want := range []string{
		"works ADD netns=/proc/self/ns/net", "K8S_POD_NAME=web", "K8S_POD_NAMESPACE=default", "K8S_POD_UID=u1", "IgnoreUnknown=1",
		`"portMappings":[{"hostPort":8080,"containerPort":80,"protocol":"tcp"}]`, `"egressRate":10000000`, `"10.96.0.10"`, `"subnet":"10.1.0.0/24"`,
	} {
		if !strings.Contains(call, want) {
			t.Errorf("the plugin was not told %s:\n%s", want, call)
		}
	}
	if owed, _ := b.Owed(); !slices.Equal(owed, []string{"abc"}) {
		t.Errorf("owed %v while attached", owed)
	}
	if err := b.Check(t.Context(), "abc"); err != nil {
		t.Errorf("check: %v", err)
	}
	// The configuration that the pod was attached by is gone: DEL uses the duty's.
	if err := os.Remove(filepath.Join(b.conf, "10-net.conflist")); err != nil {
		t.Fatal(err)
	}
	b.reopen(t)
	for range 2 { // idempotent
		if err := b.Detach(t.Context(), "abc"); err != nil {
			t.Fatal(err)
		}
	}
	calls := b.calls(t)
	if last := calls[len(calls)-1]; !strings.HasPrefix(last, "works DEL") || !strings.Contains(last, "prevResult") {
		t.Errorf("last call: %s", last)
	}
	if owed, _ := b.Owed(); len(owed) != 0 {
		t.Errorf("owed %v after the detach", owed)
	}
}

func TestDutyOutlivesFailure(t *testing.T) {
	b := newBench(t)
	b.configure(t, "works")
	b.refuse(t, "ADD", true)
	_, err := b.Attach(t.Context(), samplePod())
	if err == nil || err.Error() != "network net1: add: plugin works: ADD: no address left: range full (code 11)" {
		t.Errorf("error of ADD: %v", err)
	}
	b.refuse(t, "DEL", true)
	if err := b.Detach(t.Context(), "abc"); err == nil || !strings.Contains(err.Error(), "plugin works: DEL: no address left") {
		t.Errorf("error of DEL: %v", err)
	}
	if owed, _ := b.Owed(); len(owed) != 1 {
		t.Errorf("owed %v after a refused DEL", owed)
	}
	b.refuse(t, "DEL", false)
	if err := b.Detach(t.Context(), "abc"); err != nil {
		t.Fatal(err)
	}
	if owed, _ := b.Owed(); len(owed) != 0 {
		t.Errorf("owed %v", owed)
	}
}

func TestDetachWithoutNamespace(t *testing.T) {
	b := newBench(t)
	b.configure(t, "works")
	p := samplePod()
	p.NetNS = filepath.Join(t.TempDir(), "gone")
	if _, err := b.Attach(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if err := b.Detach(t.Context(), "abc"); err != nil {
		t.Fatal(err)
	}
	calls := b.calls(t)
	if last := calls[len(calls)-1]; !strings.HasPrefix(last, "works DEL netns= ") {
		t.Errorf("DEL without a namespace: %s", last)
	}
}

func TestPluginThatHangs(t *testing.T) {
	b := newBench(t)
	b.configure(t, "hangs")
	_, err := b.Attach(b.whileRuns(t, func() {}), samplePod())
	if !errors.Is(err, errEnough) || !strings.Contains(err.Error(), "plugin hangs: ADD") {
		t.Errorf("error: %v", err)
	}
}

// A plugin that nobody waits for any more comes to its end all the same: what
// it was about to write down is there when the DEL looks for it.
func TestPluginIsLetFinish(t *testing.T) {
	b := newBench(t)
	b.configure(t, "dawdles")
	defer func(usual time.Duration) { grace = usual }(grace)
	grace = time.Minute // for a machine that is busy with something else
	ctx := b.whileRuns(t, func() {
		if err := os.WriteFile(filepath.Join(b.bin, "go-on"), nil, 0o600); err != nil {
			t.Error(err)
		}
	})
	if _, err := b.Attach(ctx, samplePod()); !errors.Is(err, errEnough) {
		t.Errorf("error: %v", err)
	}
	if calls := b.calls(t); !slices.Contains(calls, "dawdles is done") {
		t.Errorf("calls %q", calls)
	}
}

func TestWhatPluginsSay(t *testing.T) {
	b := newBench(t)
	b.configure(t, "mutters")
	_, err := b.Attach(t.Context(), samplePod())
	if err == nil || !strings.Contains(err.Error(), "plugin mutters: ADD: exit status 3: cannot find my friends") {
		t.Errorf("error: %v", err)
	}
	b.configure(t, "absent")
	if err := b.Ready(); err == nil || !strings.Contains(err.Error(), "plugin absent: not found in "+b.bin) {
		t.Errorf("ready: %v", err)
	}
	b.configure(t, "../works") // CVE-2021-20206
	if err := b.Ready(); err == nil {
		t.Error("a plugin type that climbs out is ready")
	}
	if _, err := b.Attach(t.Context(), samplePod()); err == nil {
		t.Error("a plugin type that climbs out ran")
	}
}

func TestConfigurationIsReadAgain(t *testing.T) {
	b := newBench(t)
	if err := b.Ready(); err == nil || !strings.Contains(err.Error(), "no network configuration in") {
		t.Errorf("ready without configuration: %v", err)
	}
	b.configure(t, "works")
	if err := b.Ready(); err != nil {
		t.Errorf("ready: %v", err)
	}
	if err := os.WriteFile(filepath.Join(b.conf, "00-bad.conflist"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := b.Ready(); err != nil {
		t.Errorf("a bad file before the good one: %v", err)
	}
	if d := b.Describe(); d["network"] != "net1" {
		t.Errorf("described as %v", d)
	}
}

func TestArgumentsAreNotForged(t *testing.T) {
	b := newBench(t)
	b.configure(t, "works")
	p := samplePod()
	p.Name = "web;K8S_POD_UID=other"
	if _, err := b.Attach(t.Context(), p); err == nil {
		t.Error("a name with a semicolon was passed on")
	}
	if owed, _ := b.Owed(); len(owed) != 0 {
		t.Errorf("owed %v", owed)
	}
}

func TestRate(t *testing.T) {
	for in, want := range map[string]uint64{"10M": 1e7, "1.5k": 1500, "1Gi": 1 << 30, "1000000": 1e6} {
		if got, err := rate(in); err != nil || got != want {
			t.Errorf("rate(%q) = %d, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "M", "-5M", "1e999999999", "5X", "1", "2P", "0x10M"} {
		if got, err := rate(in); err == nil {
			t.Errorf("rate(%q) = %d", in, got)
		}
	}
}

func FuzzDuty(f *testing.F) {
	good, err := json.Marshal(&duty{PodID: "abc", Conf: json.RawMessage(`{"name":"n"}`)})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"podID":"../x"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := decodeDuty(b)
		if err == nil && (d.PodID == "" || strings.ContainsAny(d.PodID, "/\x00")) {
			t.Errorf("accepted pod id %q", d.PodID)
		}
		if err == nil {
			_, _ = d.list()
		}
	})
}

func FuzzRate(f *testing.F) {
	f.Add("10M")
	f.Fuzz(func(t *testing.T, s string) {
		if v, err := rate(s); err == nil && (v < 1e3 || v > 1e15) {
			t.Errorf("rate(%q) = %d", s, v)
		}
	})
}
