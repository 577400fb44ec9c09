package seccomp

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func specWith(caps ...string) *specs.Spec {
	return &specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: caps}}}
}

func TestDefaultDependsOnCapabilities(t *testing.T) {
	mount := data{arch: auditX8664, nr: unix.SYS_MOUNT}
	clone3 := data{arch: auditX8664, nr: unix.SYS_CLONE3}
	for _, tc := range []struct {
		spec *specs.Spec
		d    data
		want uint32
	}{
		{specWith(), mount, errno(unix.EPERM)},
		{specWith("CAP_SYS_ADMIN"), mount, retAllow},
		{specWith(), clone3, errno(unix.ENOSYS)},
		{&specs.Spec{}, mount, errno(unix.EPERM)},
		{nil, data{arch: auditX8664, nr: unix.SYS_READ}, retAllow},
	} {
		p, err := Default(tc.spec)
		if err != nil {
			t.Fatal(err)
		}
		if got := run(t, machineOf(t, mustCompile(t, p, "amd64")), tc.d); got != tc.want {
			t.Errorf("call %d: action %#x, want %#x", tc.d.nr, got, tc.want)
		}
	}
}

func TestLocalhost(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := write("good.json", `{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir"],"action":"SCMP_ACT_ERRNO","comment":"ignored"}]}`)
	p, err := Localhost(good)
	if err != nil || p.DefaultAction != specs.ActAllow || len(p.Syscalls) != 1 {
		t.Fatalf("%+v, %v", p, err)
	}
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "missing.json"):     "no such file or directory",
		dir:                                    "not a regular file",
		fifo:                                   "not a regular file",
		write("empty.json", ""):                "EOF",
		write("bad.json", `{"defaultAction":`): "unexpected EOF",
		write("two.json", `{"defaultAction":"SCMP_ACT_ALLOW"} {}`):                                                                                  "more than one JSON value",
		write("type.json", `{"defaultAction":7}`):                                                                                                   "cannot unmarshal",
		write("action.json", `{"defaultAction":"ALLOW"}`):                                                                                           `defaultAction: action "ALLOW" is not known`,
		write("arch.json", `{"defaultAction":"SCMP_ACT_ALLOW","archMap":[{}]}`):                                                                     "archMap is not part",
		write("a.json", `{"defaultAction":"SCMP_ACT_ALLOW","architectures":["x"]}`):                                                                 "architectures[0]",
		write("incl.json", `{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["a"],"action":"SCMP_ACT_LOG","includes":{"caps":["CAP_X"]}}]}`): "syscalls[0]: includes",
		write("name.json", `{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"name":"a","action":"SCMP_ACT_LOG"}]}`):                                  "syscalls[0]: name is not",
		write("big.json", strings.Repeat(" ", maxProfile+1)):                                                                                        "larger than",
	} {
		if _, err := Localhost(path); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %v, want %q", path, err, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_X86"],"syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":1,"op":"SCMP_CMP_MASKED_EQ"}]}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := decode(text)
		if err != nil {
			return
		}
		prog, _, err := Compile(p, "amd64")
		if err != nil && !strings.Contains(err.Error(), "instructions") {
			t.Fatalf("decode let through what does not compile: %v", err)
		}
		if err == nil {
			machineOf(t, prog)
		}
	})
}

func TestCache(t *testing.T) {
	var c Cache
	a, err := c.Default(specWith("CAP_CHOWN", "CAP_KILL"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := c.Default(specWith("CAP_KILL", "CAP_CHOWN"))
	if err != nil || a != b {
		t.Errorf("the same capabilities gave two profiles, %v", err)
	}
	one, _, err := c.Program(a)
	if err != nil {
		t.Fatal(err)
	}
	fresh, err := Default(specWith("CAP_CHOWN", "CAP_KILL"))
	if err != nil {
		t.Fatal(err)
	}
	two, _, err := c.Program(fresh)
	if err != nil || &one[0] != &two[0] {
		t.Errorf("an equal profile was compiled again, %v", err)
	}
	if prog, _, err := c.Program(nil); prog != nil || err != nil {
		t.Errorf("no profile: %d bytes, %v", len(prog), err)
	}
	if _, _, err := c.Program(&specs.LinuxSeccomp{}); err == nil {
		t.Error("an empty profile compiled")
	}
	again := mustCompile(t, a, "amd64")
	if !reflect.DeepEqual(again, mustCompile(t, a, "amd64")) {
		t.Error("two compilations differ")
	}
}

// TestDigest changes each field that Compile reads and expects another digest.
func TestDigest(t *testing.T) {
	base := `{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read","write"],"action":"SCMP_ACT_ERRNO","args":[{"index":0,"value":1,"valueTwo":2,"op":"SCMP_CMP_EQ"}]}]}`
	seen := map[[32]byte]string{}
	for _, text := range []string{
		base,
		strings.Replace(base, `"SCMP_ACT_ALLOW"`, `"SCMP_ACT_LOG"`, 1),
		strings.Replace(base, `"SCMP_ACT_ALLOW"`, `"SCMP_ACT_ALLOW","defaultErrnoRet":0`, 1),
		strings.Replace(base, `"SCMP_ACT_ALLOW"`, `"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86"]`, 1),
		strings.Replace(base, `"SCMP_ACT_ALLOW"`, `"SCMP_ACT_ALLOW","flags":["SECCOMP_FILTER_FLAG_LOG"]`, 1),
		strings.Replace(base, `"SCMP_ACT_ALLOW"`, `"SCMP_ACT_ALLOW","listenerPath":"/x"`, 1),
		strings.Replace(base, `"read","write"`, `"readw","rite"`, 1),
		strings.Replace(base, `"read","write"`, `"read"`, 1),
		strings.Replace(base, `"SCMP_ACT_ERRNO"`, `"SCMP_ACT_TRAP"`, 1),
		strings.Replace(base, `"SCMP_ACT_ERRNO"`, `"SCMP_ACT_ERRNO","errnoRet":1`, 1),
		strings.Replace(base, `"index":0`, `"index":1`, 1),
		strings.Replace(base, `"value":1`, `"value":3`, 1),
		strings.Replace(base, `"valueTwo":2`, `"valueTwo":3`, 1),
		strings.Replace(base, `"SCMP_CMP_EQ"`, `"SCMP_CMP_NE"`, 1),
	} {
		var p specs.LinuxSeccomp
		if err := json.Unmarshal([]byte(text), &p); err != nil {
			t.Fatal(err)
		}
		sum := digest(&p)
		if other, ok := seen[sum]; ok {
			t.Errorf("equal digests:\n%s\n%s", text, other)
		}
		seen[sum] = text
	}
}

func BenchmarkCompileDefault(b *testing.B) {
	p, err := Default(specWith("CAP_CHOWN"))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, _, err := Compile(p, "amd64"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDefault(b *testing.B) {
	for b.Loop() {
		if _, err := Default(specWith("CAP_CHOWN")); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCached(b *testing.B) {
	var c Cache
	spec := specWith("CAP_CHOWN")
	for b.Loop() {
		p, err := c.Default(spec)
		if err != nil {
			b.Fatal(err)
		}
		if _, _, err := c.Program(p); err != nil {
			b.Fatal(err)
		}
	}
}
