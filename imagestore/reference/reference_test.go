package reference

import (
	"strings"
	"testing"
)

const sum = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func TestParse(t *testing.T) {
	for in, want := range map[string]string{
		"busybox":                            "docker.io/library/busybox:latest",
		"busybox:1.37":                       "docker.io/library/busybox:1.37",
		"index.docker.io/library/busybox":    "docker.io/library/busybox:latest",
		"user/app":                           "docker.io/user/app:latest",
		"localhost:5000/a/b:c":               "localhost:5000/a/b:c",
		"[::1]:5000/a:c":                     "[::1]:5000/a:c",
		"registry.example/app@" + sum:        "registry.example/app@" + sum,
		"registry.example/app:v1@" + sum:     "registry.example/app@" + sum,
		"Registry.example/app":               "Registry.example/app:latest",
		"registry.example/app:" + long(128):  "registry.example/app:" + long(128),
		"docker.io/busybox@" + sum:           "docker.io/library/busybox@" + sum,
		"127.0.0.1:5000/a-b__c/d.e:x.y-z_1.": "127.0.0.1:5000/a-b__c/d.e:x.y-z_1.",
	} {
		r, err := Parse(in)
		if err != nil {
			t.Errorf("Parse(%q): %v", in, err)
			continue
		}
		if r.String() != want {
			t.Errorf("Parse(%q) = %s, want %s", in, r, want)
		}
	}
}

func TestParseRejects(t *testing.T) {
	for _, in := range []string{
		"", ":", "Upper/Case:x", "a/../b", "a//b", "http://a/b", "a:b c", "a@sha256:12", "a@sha256:../../x",
		"a@md5:d41d8cd98f00b204e9800998ecf8427e", "a@" + strings.ToUpper(sum), sum[7:],
		"a:" + long(129), long(5000), "a\x00b", "registry.example/app@sha384:" + long(96),
	} {
		if r, err := Parse(in); err == nil {
			t.Errorf("Parse(%.60q) = %+v, want an error", in, r)
		}
	}
}

// CVE-2019-13139: a name is never words for a program or a path of this machine.
func TestCVE_2019_13139_NamesAreNoCommands(t *testing.T) {
	for _, in := range []string{
		"-u", "--upload-pack=touch", "a;reboot", "$(reboot)", "`reboot`", "a|b", "a&b", "a>b", "a\nb", "a\tb", "a'b", "a\"b", "a\\b", "~root", "a/~root", "file:///etc/passwd", "../a", "/etc/passwd", "./a",
		"a/./b", "a/../../b", "a/b/..", "a:../b", "a:-x", "a:b/c", "a%2f..%2fb", "a@sha256:", "git@h:a", "a#b", "a?b=c", "[::1]/a/..", "h:99999999/../a", "ａ", "a\u202eb", "a\u0000",
	} {
		if r, err := Parse(in); err == nil {
			t.Errorf("Parse(%q) = %+v, want an error", in, r)
		}
	}
}

func long(n int) string { return strings.Repeat("a", n) }

func FuzzParse(f *testing.F) {
	for _, s := range []string{"busybox", "localhost:5000/a/b:c", "a@" + sum, "a:b@" + sum, "a@sha256:../../x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := Parse(s)
		if err != nil {
			return
		}
		again, err := Parse(r.String())
		if err != nil || again != r {
			t.Fatalf("Parse(%q) = %+v, whose name parses as %+v, %v", s, r, again, err)
		}
		if strings.Contains(r.Path, "..") || strings.HasPrefix(r.Path, "/") {
			t.Fatalf("Parse(%q) let the path %q through", s, r.Path)
		}
	})
}
