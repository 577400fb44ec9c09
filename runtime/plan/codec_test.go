package plan

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
)

func sample() *Plan {
	return &Plan{
		ID: "id", Hostname: "h", Domainname: "d",
		Namespaces: []Namespace{{Type: 1, Path: "/p"}, {Type: 1 << 63}},
		Owner:      Owner{UID: 100000, GID: 200000},
		Root:       Root{Readonly: true, Propagation: 1 << 20},
		Mounts: []Mount{{
			Target: "/t", Type: "bind", Source: "/s", Data: []string{"a", "b=c"}, AttrSet: 1, AttrClear: 2, RecAttrSet: 3,
			RecAttrClear: 4, Recursive: true, Propagation: 5, NoFollow: true,
		}, {Target: "/u", Type: "tmpfs"}},
		Devices: []Device{{Path: "/dev/x", Kind: 'c', Major: 1, Minor: 1<<32 - 1, Mode: 0o666, UID: 1, GID: 2}},
		Links:   []Link{{Path: "/l", Target: "t"}},
		Masked:  []string{"/m"}, Readonly: []string{"/r", ""},
		Cgroup: Cgroup{V1: []string{"/a", "/b"}, V2: "/c"},
		Process: Process{
			Args: []string{"a", ""}, Env: []string{"K=v"}, Cwd: "/", Terminal: true, Rows: 65535, Cols: 1, UID: 1<<32 - 1, GID: 7,
			UserNS: true, HostUID: 100007,
			Groups: []uint32{1, 1 << 31}, Umask: -1, Caps: Caps{1, 2, 3, 4, 1 << 63}, NoNewPrivs: true, Seccomp: []byte{0, 1, 255},
			SeccompFlags: 9, Rlimits: []Rlimit{{Type: 7, Soft: 1, Hard: 1<<64 - 1}}, OOMScoreAdj: -1000, SetOOMScoreAdj: true,
			AppArmor: "x", SELinux: "y", Pause: true,
		},
	}
}

// Every field of the sample is set, so that a field which the codec forgets
// shows.
func TestSampleIsWhole(t *testing.T) {
	var check func(path string, v reflect.Value)
	check = func(path string, v reflect.Value) {
		if v.IsZero() {
			t.Errorf("%s is not set", path)
		}
		switch v.Kind() {
		case reflect.Struct:
			for i := range v.NumField() {
				check(path+"."+v.Type().Field(i).Name, v.Field(i))
			}
		case reflect.Slice:
			if v.Len() > 0 && v.Index(0).Kind() == reflect.Struct {
				check(path+"[0]", v.Index(0))
			}
		}
	}
	check("plan", reflect.ValueOf(*sample()))
}

func decodeProcess(b []byte) (*Process, error) {
	p := &Process{}
	if err := p.decode(&reader{buf: b}); err != nil {
		return nil, err
	}
	return p, nil
}

func TestRoundTrip(t *testing.T) {
	for _, want := range []*Plan{sample(), {}} {
		got, err := Decode(want.Encode())
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, %v", got, err)
		}
		proc, err := decodeProcess(want.Process.Encode())
		if err != nil || !reflect.DeepEqual(*proc, want.Process) {
			t.Errorf("got %+v, %v", proc, err)
		}
	}
}

// A Decoder gives what decoding anew gives, whatever came before, and nothing
// to the garbage collector.
func TestDecoder(t *testing.T) {
	var d Decoder
	whole, bare := &sample().Process, &Process{}
	long := &Process{Args: []string{strings.Repeat("a", maxKept+1)}}
	for i, want := range []*Process{whole, bare, long, bare, whole} {
		b := want.Encode()
		got, err := d.Process(b)
		clear(b) // the result does not look at it
		if err != nil || !bytes.Equal(got.Encode(), want.Encode()) {
			t.Errorf("%d: got %+v, %v", i, got, err)
		}
	}
	if _, err := d.Process([]byte(processMagic)); err == nil {
		t.Error("half a process is taken")
	}
	b := whole.Encode()
	if n := testing.AllocsPerRun(100, func() { _, _ = d.Process(b) }); n > 0 {
		t.Errorf("%v allocations a process", n)
	}
}

func TestDecodeIsStrict(t *testing.T) {
	good := sample().Encode()
	for n := range good {
		if _, err := Decode(good[:n]); err == nil {
			t.Fatalf("the first %d bytes of %d are taken", n, len(good))
		}
	}
	if _, err := Decode(append(bytes.Clone(good), 0)); err == nil {
		t.Error("a byte too many is taken")
	}
	if _, err := Decode(sample().Process.Encode()); err == nil {
		t.Error("a process is taken for a plan")
	}
	if _, err := Decode(make([]byte, MaxEncoded+1)); err == nil || err == ErrFormat {
		t.Errorf("too long: %v", err)
	}
	long := append([]byte(planMagic), 0x80, 0x00) // a length of 0 in two bytes
	if _, err := Decode(long); err == nil {
		t.Error("a number in a longer form than needed is taken")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(sample().Encode())
	f.Add((&Plan{}).Encode())
	f.Add([]byte(planMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := Decode(b)
		if err != nil {
			return
		}
		if !bytes.Equal(p.Encode(), b) {
			t.Errorf("two encodings of one plan: %q", b)
		}
	})
}

func FuzzDecodeProcess(f *testing.F) {
	f.Add(sample().Process.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := decodeProcess(b)
		if err == nil && !bytes.Equal(p.Encode(), b) {
			t.Errorf("two encodings of one process: %q", b)
		}
		q, same := new(Decoder).Process(b)
		if (err == nil) != (same == nil) || (err == nil && !bytes.Equal(q.Encode(), b)) {
			t.Errorf("the decoders disagree over %q: %v, %v", b, err, same)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	enc := sample().Encode()
	for range b.N {
		if _, err := Decode(enc); err != nil {
			b.Fatal(err)
		}
	}
}
