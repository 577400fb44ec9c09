package config

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%s differs (run with -update to accept):\n%s", path, got)
	}
}

func TestDefault(t *testing.T) {
	c := Default()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	out, err := c.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "default.yaml", out)
	back, err := Parse(out)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(back, c) {
		t.Errorf("what is printed reads back as %+v", back)
	}
}

func TestDefaultConflist(t *testing.T) {
	c := Default()
	c.Network.DefaultNetwork.Firewall = true
	out, err := c.DefaultConflist()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "default.conflist", append(out, '\n'))
	off := false
	c.Network.DefaultNetwork.Enabled = &off
	if out, err = c.DefaultConflist(); out != nil || err != nil {
		t.Errorf("a disabled network is %s, %v", out, err)
	}
}

func TestPathsFollowTheirRoots(t *testing.T) {
	c, err := Parse([]byte("stateDir: /tmp/n1/run\nrootDir: /tmp/n1/lib\n"))
	if err != nil {
		t.Fatal(err)
	}
	for got, want := range map[string]string{
		c.Admin.Socket: "/tmp/n1/run/admin.sock",
		c.Socket:       "/tmp/n1/run/varve.sock", c.Network.CacheDir: "/tmp/n1/lib/cni",
		c.Network.DefaultNetwork.DataDir: "/tmp/n1/lib/cni/leases",
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestErrors(t *testing.T) {
	for text, want := range map[string]string{
		"admin: {socket: admin.sock}":     `admin.socket: "admin.sock" is not an absolute path`,
		"admin: {socket: /x}\nsocket: /x": "admin.socket: /x is the CRI's socket",
		"admin: {sokcet: /x}":             "admin.sokcet: no such field; did you mean socket?",

		"sockte: /x":                             "sockte: no such field; did you mean socket?",
		"Socket: /x":                             "Socket: no such field; did you mean socket?",
		"network: {defaultNetwork: {brigde: x}}": "network.defaultNetwork.brigde: no such field; did you mean bridge?",
		"images: {registries: [{name: x, mirors: []}]}": "images.registries[0].mirors: no such field; did you mean mirrors?",
		"runtime: {handlers: {a: {secomp: {}}}}":        "runtime.handlers.a.secomp: no such field; did you mean seccomp?",
		"zzzzzzzz: 1":                                   "zzzzzzzz: no such field",
		"socket: /a\nsocket: /b":                        `key "socket" already set`,
		"socket: [":                                     "not YAML",
		"- a":                                           "not a mapping",
		"apiVersion: varve.dev/v9":                      "apiVersion: varve.dev/v9 is not known, varve.dev/v1alpha1 is",
		"kind: Pod":                                     "kind: Pod is not known",
		"socket: relative":                              `socket: "relative" is not an absolute path`,
		"socket: /a/../b":                               "socket: \"/a/../b\" is not in its shortest form, /b is",
		"stateDir: /x\nrootDir: /x":                     "stateDir: /x is the rootDir too",
		"cgroup: {driver: systemd}":                     `cgroup.driver: "systemd" is not known`,
		"cgroup: {parent: /}":                           "cgroup.parent",
		"network: {defaultNetwork: {subnet: 10.0.0.1/8}}":                  "network.defaultNetwork.subnet: 10.0.0.1/8 has bits set",
		"network: {defaultNetwork: {subnet: fd00::/64}}":                   "is not an IPv4 range",
		"network: {defaultNetwork: {subnet: 10.0.0.0/30}}":                 "too small",
		"network: {defaultNetwork: {bridge: a-name-too-long-x}}":           "network.defaultNetwork.bridge",
		"network: {binDirs: [rel]}":                                        "network.binDirs[0]",
		"network: {binDirs: []}":                                           "network.binDirs",
		"images: {registries: [{name: '*', mirrors: [{url: 'ftp://x'}]}]}": "images.registries[0].mirrors[0].url",
		"images: {registries: [{name: a}, {name: a}]}":                     `images.registries[1].name: "a" has a rule already`,
		"images: {registries: [{name: a, mirrorsOnly: true}]}":             "images.registries[0].mirrorsOnly",
		"images: {registries: [{name: 'https://a'}]}":                      "images.registries[0].name",
		"images: {registryConfigDirs: [certs.d]}":                          "images.registryConfigDirs[0]",
		"images: {credentialHelperDirs: [bin]}":                            "images.credentialHelperDirs[0]",
		"images: {dockerConfig: config.json}":                              "images.dockerConfig",
		"images: {format: zip}":                                            "images.format",
		"images: {platform: linux}":                                        "images.platform",
		"limits: {restrictRlimits: maybe}":                                 `limits.restrictRlimits: "maybe" is neither`,
		"limits: {restrictRlimits: 3}":                                     "neither auto, true nor false",
		"limits: {rlimits: {files: {soft: 1, hard: 1}}}":                   "limits.rlimits.files: no such limit",
		"limits: {rlimits: {nofile: {soft: 2, hard: 1}}}":                  "limits.rlimits.nofile.soft",
		"seccomp: {unsetProfile: Localhost}":                               "seccomp.unsetProfile",
		"log: {maxLineBytes: 1}":                                           "log.maxLineBytes: 1 is not between",
		"log: {maxLineBytes: many}":                                        "log.maxLineBytes: a string where a int belongs",
		"exec: {drainTimeout: 5}":                                          "is not a duration",
		"exec: {drainTimeout: 5 min}":                                      "is not a duration",
		"shim: {spares: -1}":                                               "shim.spares",
		"runtime: {handlers: {a: {seccomp: {unsetProfile: x}}}}":           `runtime.handlers["a"].seccomp.unsetProfile`,
	} {
		_, err := Parse([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\n got %v\nwant %s", text, err, want)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestDropIns(t *testing.T) {
	dir := t.TempDir()
	main, drop := dir+"/varved.yaml", dir+"/varved.yaml.d"
	write(t, main, "apiVersion: varve.dev/v1alpha1\nkind: VarvedConfiguration\nlog: {verbosity: 2, maxLineBytes: 4096}\nnetwork: {binDirs: [/a, /b]}\nexec: {drainTimeout: 5s}\n")
	write(t, drop+"/20-b.yaml", "log: {verbosity: 4}\nnetwork: {binDirs: [/c]}\nexec: null\n")
	write(t, drop+"/10-a.yaml", "log: {verbosity: 3}\nlimits: {restrictRlimits: true}\n")
	write(t, drop+"/30.yml", "nonsense: true\n")
	write(t, drop+"/.40.yaml", "nonsense: true\n")
	c, err := Load(main, drop)
	if err != nil {
		t.Fatal(err)
	}
	if c.Log.Verbosity != 4 || c.Log.MaxLineBytes != 4096 || len(c.Network.BinDirs) != 1 || c.Limits.RestrictRlimits != On || c.Exec.DrainTimeout.Std() != 2*time.Second {
		t.Errorf("merged to %+v", c)
	}

	write(t, drop+"/15-bad.yaml", "logg: {}\n")
	if _, err = Load(main, drop); err == nil || !strings.Contains(err.Error(), "15-bad.yaml: logg: no such field") {
		t.Errorf("error %v", err)
	}
	if _, err = Load(dir+"/none.yaml", ""); err == nil || !strings.Contains(err.Error(), "none.yaml") {
		t.Errorf("error %v", err)
	}
	if c, err = Load("", dir+"/none.d"); err != nil || c.Socket != "/run/varve/varve.sock" {
		t.Errorf("nothing loads as %v, %v", c, err)
	}
}

func TestHandlers(t *testing.T) {
	c, err := Parse([]byte(`
limits: {rlimits: {nofile: {soft: 1, hard: 2}}}
runtime:
  handlers:
    own: {seccomp: {defaultProfile: /p.json}}
    strict: {seccomp: {unsetProfile: RuntimeDefault}, rlimits: {core: {soft: 0, hard: 0}}}
    plain: {}
`))
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(c.HandlerNames(), ","); got != ",own,plain,strict" {
		t.Errorf("names %q", got)
	}
	if _, ok := c.Handler("other"); ok {
		t.Error("an unknown handler is known")
	}
	h, ok := c.Handler("")
	if !ok || h.Seccomp.UnsetProfile != ProfileUnconfined || len(h.Rlimits) != 1 {
		t.Errorf("default handler %+v", h)
	}
	h, ok = c.Handler("strict")
	if !ok || h.Seccomp.UnsetProfile != ProfileRuntimeDefault || len(h.Rlimits) != 2 || len(c.Limits.Rlimits) != 1 {
		t.Errorf("handler %+v", h)
	}
}

func TestHandlerSettings(t *testing.T) {
	c, err := Parse([]byte(`
cgroup: {parent: /pods}
runtime:
  handlers:
    "": {defaultCapabilities: [chown]}
    none: {defaultCapabilities: [], cgroup: {group: tight, writable: true}, layerFormat: overlay}
    plain: {cgroup: {group: tight}}
`))
	if err != nil {
		t.Fatal(err)
	}
	byDefault, _ := c.Handler("")
	none, _ := c.Handler("none")
	plain, _ := c.Handler("plain")
	if len(byDefault.DefaultCapabilities) != 1 || none.DefaultCapabilities == nil || len(none.DefaultCapabilities) != 0 || plain.DefaultCapabilities != nil {
		t.Errorf("capabilities %q, %q, %q", byDefault.DefaultCapabilities, none.DefaultCapabilities, plain.DefaultCapabilities)
	}
	if got := c.CgroupParent(byDefault) + " " + c.CgroupParent(none) + " " + strings.Join(c.CgroupParents(), ","); got != "/pods /pods/tight /pods,/pods/tight" {
		t.Errorf("parents %s", got)
	}
	// What is printed says the same: no capabilities are not the usual ones.
	out, err := c.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	again, err := Parse(out)
	if err != nil {
		t.Fatal(err)
	}
	if none, _ := again.Handler("none"); none.DefaultCapabilities == nil || !none.Cgroup.Writable || none.LayerFormat != FormatOverlay {
		t.Errorf("read back: %+v", none)
	}
	for handler, want := range map[string]string{
		"Strict: {}":                                             `runtime.handlers["Strict"]: no RuntimeClass can name it`,
		"a.b: {}":                                                `runtime.handlers["a.b"]: no RuntimeClass`,
		"a: {defaultCapabilities: [FLY]}":                        `runtime.handlers["a"].defaultCapabilities[0]: "FLY" is not`,
		"a: {defaultCapabilities: [ALL]}":                        `defaultCapabilities[0]: "ALL" is not`,
		"a: {defaultCapabilities: [KILL, cap_kill]}":             "defaultCapabilities[1]: CAP_KILL is there twice",
		"a: {cgroup: {group: ../x}}":                             `runtime.handlers["a"].cgroup.group: "../x"`,
		"a: {cgroup: {group: " + strings.Repeat("0a", 32) + "}}": "could be a pod's",
		"a: {cgroup: {grup: x}}":                                 "runtime.handlers.a.cgroup.grup: no such field; did you mean group?",
		"a: {layerFormat: auto}":                                 `runtime.handlers["a"].layerFormat: "auto" is neither`,
	} {
		_, err := Parse([]byte("runtime: {handlers: {" + handler + "}}"))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", handler, err, want)
		}
	}
}

func TestSwitch(t *testing.T) {
	for s, want := range map[Switch][2]bool{Auto: {false, true}, On: {true, true}, Off: {false, false}, "": {false, true}} {
		if got := [2]bool{s.Resolve(false), s.Resolve(true)}; got != want {
			t.Errorf("%q resolves to %v", s, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	out, err := Default().Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(out)
	f.Add([]byte("runtime: {handlers: {a: {rlimits: {core: {}}}}}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse(data)
		if err != nil {
			return
		}
		out, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse(out); err != nil {
			t.Errorf("what was read does not read back: %v", err)
		}
	})
}
