package hosts

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The forms that containerd's documentation shows, in one file.
const example = `
server = "https://registry-1.docker.io"
ca = ["/etc/a.pem", "b.pem"]
[header]
  x-two = ["a", "b"]
[host."https://z.example"]
  capabilities = ["pull"]
  client = "/etc/client.pem"
[host."https://z.example".header]
  x-one = "1"
[host."http://192.168.31.250:5000"]
  capabilities = ["pull", "resolve", "push"]
  skip_verify = true
  client = ["c1.pem", "c2.pem"]
[host."https://a.example/cache/v2/"]
  ca = "a.crt"
  dial_timeout = "1s"
  client = [["c.cert", "c.key"], ["d.pem", ""]]
[host."https://odd.example/no-version"]
  override_path = true
  proxy = "socks5://proxy:1080"
[host."bare.example:443/prefix"]
`

func TestParse(t *testing.T) {
	got, err := Parse([]byte(example), "/d")
	if err != nil {
		t.Fatal(err)
	}
	yes := true
	want := []string{
		`https://z.example/v2 pull=true resolve=false ca=[] client=[[/etc/client.pem ]] skip=false header=map[X-One:[1]] dial=0s proxy=<nil> server=false`,
		`http://192.168.31.250:5000/v2 pull=true resolve=true ca=[] client=[[/d/c1.pem ] [/d/c2.pem ]] skip=true header=map[] dial=0s proxy=<nil> server=false`,
		`https://a.example/cache/v2 pull=true resolve=true ca=[/d/a.crt] client=[[/d/c.cert /d/c.key] [/d/d.pem ]] skip=false header=map[] dial=1s proxy=<nil> server=false`,
		`https://odd.example/no-version pull=true resolve=true ca=[] client=[] skip=false header=map[] dial=0s proxy=socks5://proxy:1080 server=false`,
		`https://bare.example:443/prefix/v2 pull=true resolve=true ca=[] client=[] skip=false header=map[] dial=0s proxy=<nil> server=false`,
		`https://registry-1.docker.io/v2 pull=true resolve=true ca=[/etc/a.pem /d/b.pem] client=[] skip=false header=map[X-Two:[a b]] dial=0s proxy=<nil> server=true`,
	}
	for i, h := range got {
		s := fmt.Sprintf("%v pull=%v resolve=%v ca=%v client=%v skip=%v header=%v dial=%v proxy=%v server=%v",
			h.URL, h.Pull, h.Resolve, h.CAs, h.Clients, h.SkipVerify != nil && *h.SkipVerify == yes, h.Header, h.DialTimeout, h.Proxy, h.Server)
		if i >= len(want) || s != want[i] {
			t.Errorf("host %d:\n%s", i, s)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d hosts, want %d", len(got), len(want))
	}
	// Without a server, the registry itself is the last.
	got, err = Parse([]byte("host = { \"https://b\" = {}, \"https://a\" = {} }\n"), "/d")
	if err != nil || len(got) != 3 || got[0].URL.Host != "b" || got[1].URL.Host != "a" || got[2].URL != nil || !got[2].Server {
		t.Errorf("inline tables: %v, %v", got, err)
	}
}

func TestParseErrors(t *testing.T) {
	for text, want := range map[string]string{
		"servr = \"x\"": "servr: no such key",
		"[host.\"https://x\"]\ncapabilites = [\"pull\"]": `host."https://x".capabilites: no such key`,
		"[host.\"https://x\"]\nserver = \"y\"":           `host."https://x".server: no such key`,
		"capabilities = [\"pul\"]":                       `capabilities: "pul" is none of`,
		"capabilities = 3":                               "capabilities: is neither text nor",
		"ca = true":                                      "ca: is neither text nor",
		"client = 1":                                     "client: is neither a file",
		"client = [[\"a\", \"b\", \"c\"]]":               "client: is neither a file",
		"skip_verify = \"yes\"":                          "skip_verify: is not true or false",
		"override_path = 1":                              "override_path: is not true or false",
		"dial_timeout = \"soon\"":                        `dial_timeout: "soon" is not a duration`,
		"dial_timeout = \"-1s\"":                         "dial_timeout",
		"server = \"ftp://x\"":                           `server: "ftp://x" is not`,
		"server = \"https://u:secret@x\"":                "server: only scheme, host",
		"[host.\"https://x?y\"]":                         `host."https://x?y": only scheme`,
		"[host.\"\"]":                                    `host."": has no host`,
		"host = 3":                                       "host: is not a table",
		"[[host]]":                                       "host: is not a table",
		"[host]\n\"https://x\" = 1":                      `host."https://x": is not a table`,
		"[header]\n\"a b\" = \"x\"":                      `header: "a b" is not the name`,
		"[header]\na = \"x\\ny\"":                        "header.a: is not text",
		"proxy = \"x\"":                                  "proxy: is not",
		"server = \"a\"\nserver = \"b\"":                 "line 2",
		"server = ":                                      "line 1",
	} {
		_, err := Parse([]byte(text), "/d")
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: error %v, want %q", text, err, want)
		}
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestDirectory(t *testing.T) {
	first, second := t.TempDir(), t.TempDir()
	server := func(name string) string { return `server = "https://` + name + `"` }
	write(t, filepath.Join(first, "_default/hosts.toml"), server("default"))
	write(t, filepath.Join(first, "r.example_5000_/hosts.toml"), server("underscores"))
	write(t, filepath.Join(first, "r.example:5000/hosts.toml"), server("colon"))
	write(t, filepath.Join(first, "c.example:5000/hosts.toml"), server("colon"))
	write(t, filepath.Join(second, "second.example/hosts.toml"), server("second"))
	write(t, filepath.Join(second, "bad.example/hosts.toml"), "x = 1")
	write(t, filepath.Join(second, "file.example"), "not a directory")
	write(t, filepath.Join(second, "docker.example/ca.crt"), "")
	write(t, filepath.Join(second, "docker.example/me.cert"), "")
	write(t, filepath.Join(second, "docker.example/me.key"), "")
	write(t, filepath.Join(second, "docker.example/both.cert"), "")
	d := New([]string{filepath.Join(first, "none"), first, second})
	for registry, want := range map[string]string{
		"r.example:5000": "underscores", "c.example:5000": "colon", "second.example": "second",
		"r.example": "", "file.example": "", "..": "", "a/../second.example": "", "_default": "",
	} {
		got, err := d.Own(registry)
		if err != nil || (got == nil) != (want == "") || got != nil && got.Hosts[0].URL.Host != want {
			t.Errorf("%s: %+v, %v", registry, got, err)
		}
	}
	common, err := d.Default()
	if err != nil || !common.Default || common.Hosts[0].URL.Host != "default" {
		t.Errorf("default: %+v, %v", common, err)
	}
	if _, err := d.Own("bad.example"); err == nil || !strings.Contains(err.Error(), filepath.Join(second, "bad.example/hosts.toml")+": x: no such key") {
		t.Errorf("the error names neither file nor key: %v", err)
	}
	c, err := d.Own("docker.example")
	if err != nil || len(c.Hosts) != 1 || len(c.Hosts[0].CAs) != 1 || len(c.Hosts[0].Clients) != 2 || c.Hosts[0].Clients[0][1] != "" || c.Hosts[0].Clients[1][1] == "" || c.Hosts[0].URL != nil {
		t.Errorf("docker's layout: %+v, %v", c, err)
	}
}

// What was read is kept until one of its files changes.
func TestChanges(t *testing.T) {
	root := t.TempDir()
	file, ca := filepath.Join(root, "r.example/hosts.toml"), filepath.Join(root, "ca.pem")
	write(t, file, "ca = \"../ca.pem\"")
	write(t, ca, "1")
	past := time.Now().Add(-time.Hour)
	age := func() {
		t.Helper()
		for _, f := range []string{file, ca, filepath.Dir(file)} {
			if err := os.Chtimes(f, past, past); err != nil {
				t.Fatal(err)
			}
		}
		past = past.Add(time.Second)
	}
	own := func(d *Directory) *Config {
		t.Helper()
		c, err := d.Own("r.example")
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	d := New([]string{root})
	// However long it takes to come here, the file is young.
	if err := os.Chtimes(file, past, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if own(d) == own(d) { //nolint:staticcheck // each call reads the file anew
		t.Error("a file that is too young to tell a change was kept")
	}
	age()
	first := own(d)
	if own(d) != first {
		t.Error("nothing changed, and it was read again")
	}
	write(t, ca, "2")
	age()
	second := own(d)
	if second == first {
		t.Error("another authority was not seen")
	}
	write(t, file, `server = "https://other"`)
	age()
	if c := own(d); c == second || c.Hosts[0].URL.Host != "other" {
		t.Errorf("another hosts.toml was not seen: %+v", c)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if c := own(d); c.Hosts[0].URL != nil {
		t.Errorf("the file is gone: %+v", c)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(example))
	f.Add([]byte("host = { \"https://b\" = {}, \"https://a\" = {} }\nclient=[[\"\"]]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		hosts, err := Parse(data, "/d")
		if err != nil {
			return
		}
		for i, h := range hosts {
			if (h.URL == nil && i != len(hosts)-1) || h.Server != (i == len(hosts)-1) {
				t.Errorf("host %d of %d: %+v", i, len(hosts), h)
			}
			if h.URL != nil && (h.URL.Host == "" || h.URL.User != nil || h.URL.Scheme != "http" && h.URL.Scheme != "https") {
				t.Errorf("host %v", h.URL)
			}
			for _, file := range h.CAs {
				if !filepath.IsAbs(file) {
					t.Errorf("authority %q", file)
				}
			}
		}
	})
}
