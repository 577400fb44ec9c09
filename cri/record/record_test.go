package record

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func samplePod(id string) *Pod {
	return &Pod{
		ID: id, Handler: "h", CreatedAt: 5, State: PodReady,
		Config: &runtimeapi.PodSandboxConfig{
			Metadata:    &runtimeapi.PodSandboxMetadata{Name: "p", Namespace: "n", Uid: "u", Attempt: 3},
			Annotations: map[string]string{"a": "<&>\u2028\n", "": "empty"},
		},
		Pins: Pins{Net: true, IPC: true}, Network: Network{IPs: []string{"10.0.0.1"}, Result: []byte(`{"a":1}`)},
		CgroupParent: "/varve/1", OwnCgroup: true, PausePID: 7,
		Duties: []Duty{{DutyNetwork, ""}, {DutyCgroup, "/varve/1"}},
	}
}

func sampleContainer(id string) *Container {
	return &Container{
		ID: id, PodID: "p", ImageID: "sha256:1", State: Running, CreatedAt: 5, StartedAt: 6, PID: 77,
		LogPath: "/l", Cgroup: "/c", User: User{1, 2, []uint32{2, 3}}, StopSig: 15,
		Config: &runtimeapi.ContainerConfig{
			Metadata: &runtimeapi.ContainerMetadata{Name: "c"},
			Envs:     []*runtimeapi.KeyValue{{Key: "RAW", Value: []byte{0xff, 0xfe, '\n'}}},
		},
		Resources: &runtimeapi.LinuxContainerResources{},
		Mounts:    []*runtimeapi.Mount{{ContainerPath: "/m"}},
		Duties:    []Duty{{DutyLayer, id}},
	}
}

// equal compares records but for their messages, and the messages by proto.
func equal(t *testing.T, got, want any, messages ...[2]proto.Message) {
	t.Helper()
	for _, m := range messages {
		if !proto.Equal(m[0], m[1]) {
			t.Errorf("message %v, want %v", m[0], m[1])
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("record %+v, want %+v", got, want)
	}
}

func TestRoundTrip(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	p, c := samplePod("p1"), sampleContainer("c1")
	for range 2 { // the second time over the first
		if err := errors.Join(s.SavePod(p), s.SaveContainer(c)); err != nil {
			t.Fatal(err)
		}
	}
	l, err := s.LoadAll()
	if err != nil || len(l.Bad) != 0 || len(l.Pods) != 1 || len(l.Containers) != 1 {
		t.Fatalf("loaded %+v, %v", l, err)
	}
	gp, gc := l.Pods[0], l.Containers[0]
	pairs := [][2]proto.Message{{gp.Config, p.Config}, {gc.Config, c.Config}, {gc.Resources, c.Resources}, {gc.Mounts[0], c.Mounts[0]}}
	gp.Config, gc.Config, gc.Resources, gc.Mounts = p.Config, c.Config, c.Resources, c.Mounts
	equal(t, gp, p, pairs...)
	equal(t, gc, c)
	checkModes(t, dir)
}

// checkModes: CVE-2021-41103, CVE-2024-25621.
func checkModes(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		if strings.HasSuffix(path, ".tmp") {
			t.Errorf("%s left over", path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestBadRecordsStopNothing(t *testing.T) {
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	good := sampleContainer("good")
	for _, id := range []string{"aaa", "good", "zzz"} {
		good.ID = id
		if err := s.SaveContainer(good); err != nil {
			t.Fatal(err)
		}
	}
	bad := map[string]string{
		"cut":     `{"version":1,"id":"cu`,
		"future":  `{"version":2,"id":"future","createdAt":5,"state":"Running","podId":"p"}`,
		"other":   `{"version":1,"id":"another","createdAt":5,"state":"Running","podId":"p"}`,
		"state":   `{"version":1,"id":"state","createdAt":5,"state":"Dancing","podId":"p"}`,
		"time":    `{"version":1,"id":"time","state":"Running","podId":"p"}`,
		"nopod":   `{"version":1,"id":"nopod","createdAt":5,"state":"Running"}`,
		"message": `{"version":1,"id":"message","createdAt":5,"state":"Running","podId":"p","config":"/////w=="}`,
		"zero":    "",
	}
	for id, text := range bad {
		if err := write(s.ContainerDir(id), containerFile, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(s.ContainerDir("none"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.ContainerDir("a-file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := s.LoadAll()
	if err != nil || len(l.Containers) != 3 {
		t.Fatalf("loaded %d, %v", len(l.Containers), err)
	}
	if want := len(bad) + 2; len(l.Bad) != want {
		t.Errorf("%d bad, want %d: %v", len(l.Bad), want, l.Bad)
	}
	for _, b := range l.Bad {
		if !strings.Contains(b.Error(), b.Path) || (b.ID == "none") != errors.Is(b, ErrNoRecord) {
			t.Errorf("bad record %v", b)
		}
	}
}

func TestDelete(t *testing.T) {
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SavePod(samplePod("p")); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(s.PodDir("p")+"/ns/deep", 0o700); err != nil {
		t.Fatal(err)
	}
	for range 2 { // idempotent
		if err := errors.Join(s.DeletePod("p"), s.DeleteContainer("c")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(s.PodDir("p")); !os.IsNotExist(err) {
		t.Errorf("still there: %v", err)
	}
}

func TestSaveNamesTheObject(t *testing.T) {
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(s.podsDir()); err != nil {
		t.Fatal(err)
	}
	if err := s.SavePod(samplePod("p9")); err == nil || !strings.Contains(err.Error(), "pod p9") {
		t.Errorf("error %v", err)
	}
}

// events is every event of a container, by name.
var events = map[string]func(*Container) error{
	"Start":        (*Container).Start,
	"Started":      func(c *Container) error { return c.Started(9, time.Unix(7, 0)) },
	"StartFailed":  func(c *Container) error { return c.StartFailed(127, "no such file", time.Unix(7, 0)) },
	"Exit":         func(c *Container) error { return c.Exit(Exit{Code: 3, At: time.Unix(8, 0)}) },
	"Lost":         func(c *Container) error { return c.Lost("gone") },
	"MarkRemoving": (*Container).MarkRemoving,
	"CheckRunning": func(c *Container) error { return c.CheckRunning("exec") },
	"Update":       func(c *Container) error { return c.Update(nil) },
}

func TestContainerEvents(t *testing.T) {
	states := []ContainerState{Created, Starting, Running, Exited, Unknown, Removing}
	allowed := map[string]map[ContainerState]ContainerState{
		"Start":        {Created: Starting},
		"Started":      {Starting: Running, Unknown: Running},
		"StartFailed":  {Starting: Exited},
		"Exit":         {Starting: Exited, Running: Exited, Unknown: Exited, Exited: Exited, Removing: Removing},
		"Lost":         {Starting: Unknown, Running: Unknown, Unknown: Unknown},
		"MarkRemoving": {Created: Removing, Exited: Removing, Unknown: Removing, Removing: Removing},
		"CheckRunning": {Running: Running},
		"Update":       {Created: Created, Starting: Starting, Running: Running},
	}
	for name, event := range events {
		for _, from := range states {
			c := &Container{ID: "abc", State: from}
			err := event(c)
			to, ok := allowed[name][from]
			var state *StateError
			switch {
			case ok && (err != nil || c.State != to):
				t.Errorf("%s while %s: %v, now %s, want %s", name, from, err, c.State, to)
			case !ok && !errors.As(err, &state):
				t.Errorf("%s while %s is allowed (%v)", name, from, err)
			case !ok && (c.State != from || !strings.Contains(err.Error(), string(from)) || !strings.Contains(err.Error(), "container abc cannot")):
				t.Errorf("%s while %s: %v, now %s", name, from, err, c.State)
			}
		}
	}
}

func TestExitReasons(t *testing.T) {
	for _, e := range []struct {
		exit Exit
		want string
	}{{Exit{Code: 0}, ReasonCompleted}, {Exit{Code: 3}, ReasonError}, {Exit{Code: 137, OOM: true}, ReasonOOMKilled}, {Exit{Code: 0, OOM: true}, ReasonOOMKilled}} {
		c := &Container{State: Running, PID: 5}
		if err := c.Exit(e.exit); err != nil || c.Reason != e.want || c.PID != 0 {
			t.Errorf("%+v: reason %q, pid %d, %v", e.exit, c.Reason, c.PID, err)
		}
		if err := c.Exit(Exit{Code: 99}); err != nil || c.ExitCode != e.exit.Code {
			t.Errorf("a second end counts: %d, %v", c.ExitCode, err)
		}
	}
}

func TestPodEvents(t *testing.T) {
	states := []PodState{PodPreparing, PodReady, PodNotReady, PodRemoving}
	allowed := map[string]map[PodState]PodState{
		"ready":  {PodPreparing: PodReady},
		"stop":   {PodPreparing: PodNotReady, PodReady: PodNotReady, PodNotReady: PodNotReady, PodRemoving: PodRemoving},
		"remove": {PodPreparing: PodRemoving, PodNotReady: PodRemoving, PodRemoving: PodRemoving},
		"use":    {PodReady: PodReady},
	}
	for name, event := range map[string]func(*Pod) error{
		"ready": (*Pod).MarkReady, "stop": func(p *Pod) error { return p.MarkStopped("why") },
		"remove": (*Pod).MarkRemoving, "use": (*Pod).CheckStartable,
	} {
		for _, from := range states {
			p := &Pod{ID: "abc", State: from}
			err := event(p)
			to, ok := allowed[name][from]
			if ok != (err == nil) || ok && p.State != to || !ok && !strings.Contains(err.Error(), string(from)) {
				t.Errorf("%s while %s: %v, now %s", name, from, err, p.State)
			}
		}
	}
}

func TestDuties(t *testing.T) {
	p := samplePod("p")
	q := p.Clone()
	q.Owe(DutyNetwork, "")
	q.Owe(DutyPause, "")
	if len(q.Duties) != 3 || len(p.Duties) != 2 || !q.Owes(DutyPause) || p.Owes(DutyPause) {
		t.Errorf("owed %v, original %v", q.Duties, p.Duties)
	}
	q.Acquit(DutyCgroup, "/varve/other")
	q.Acquit(DutyNetwork, "")
	if want := []Duty{{DutyCgroup, "/varve/1"}, {DutyPause, ""}}; !slices.Equal(q.Duties, want) {
		t.Errorf("owed %v, want %v", q.Duties, want)
	}
	q.Acquit(DutyCgroup, "/varve/1")
	q.Acquit(DutyPause, "")
	if q.Duties != nil || len(p.Duties) != 2 {
		t.Errorf("owed %v, original %v", q.Duties, p.Duties)
	}
}

func FuzzDecode(f *testing.F) {
	p, err := encodePod(samplePod("id"))
	if err != nil {
		f.Fatal(err)
	}
	c, err := encodeContainer(sampleContainer("id"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(p)
	f.Add(c)
	f.Fuzz(func(t *testing.T, data []byte) {
		if p, err := decodePod("id", data); err == nil {
			if _, err := encodePod(p); err != nil {
				t.Errorf("pod does not encode: %v", err)
			}
		}
		if c, err := decodeContainer("id", data); err == nil {
			if _, err := encodeContainer(c); err != nil {
				t.Errorf("container does not encode: %v", err)
			}
		}
	})
}

func BenchmarkSaveContainer(b *testing.B) {
	dir := b.TempDir()
	if tmp, err := os.MkdirTemp("/dev/shm", "record"); err == nil {
		dir = tmp
		b.Cleanup(func() { _ = os.RemoveAll(tmp) })
	}
	s, err := Open(dir)
	if err != nil {
		b.Fatal(err)
	}
	c := sampleContainer("c")
	for i := range 20 {
		c.Config.Envs = append(c.Config.Envs, &runtimeapi.KeyValue{Key: fmt.Sprintf("KUBERNETES_SERVICE_%d", i), Value: []byte("10.0.0.1")})
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := s.SaveContainer(c); err != nil {
			b.Fatal(err)
		}
	}
}
