package manifest

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

var sum = digest.FromString("x")

func desc(extra string) string {
	return fmt.Sprintf(`{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":%q,"size":7%s}`, sum, extra)
}

func config(mediaType string) string {
	return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":7}`, mediaType, sum)
}

func TestParseAccepts(t *testing.T) {
	oci := config(ocispec.MediaTypeImageConfig)
	for name, c := range map[string]struct{ body, contentType string }{
		"oci":            {`{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageManifest + `","config":` + oci + `,"layers":[` + desc("") + `]}`, ocispec.MediaTypeImageManifest},
		"oci, no type":   {`{"schemaVersion":2,"config":` + oci + `,"layers":[]}`, ""},
		"json header":    {`{"schemaVersion":2,"config":` + oci + `,"layers":[]}`, "application/json; charset=utf-8"},
		"docker":         {`{"schemaVersion":2,"mediaType":"` + DockerManifest + `","config":` + config(dockerConfig) + `,"layers":[` + desc("") + `]}`, DockerManifest},
		"foreign layers": {`{"schemaVersion":2,"config":` + oci + `,"layers":[` + desc(`,"urls":["http://elsewhere/"]`) + `]}`, ""},
		"index":          {`{"schemaVersion":2,"manifests":[` + desc("") + `]}`, DockerList},
	} {
		d, err := Parse([]byte(c.body), c.contentType)
		if err != nil || (d.Manifest == nil) == (d.Index == nil) {
			t.Errorf("%s: %+v, %v", name, d, err)
		}
	}
}

func TestParseRejects(t *testing.T) {
	oci := config(ocispec.MediaTypeImageConfig)
	for name, c := range map[string]struct{ body, contentType, want string }{
		"both (CVE-2021-41190)":            {`{"schemaVersion":2,"config":` + oci + `,"layers":[],"manifests":[` + desc("") + `]}`, "", "ambiguous"},
		"header disagrees":                 {`{"schemaVersion":2,"mediaType":"` + DockerManifest + `","config":` + oci + `,"layers":[]}`, ocispec.MediaTypeImageManifest, "ambiguous"},
		"says index, is manifest":          {`{"schemaVersion":2,"mediaType":"` + DockerList + `","config":` + oci + `,"layers":[]}`, "", "ambiguous"},
		"schema 1":                         {`{"schemaVersion":1,"fsLayers":[]}`, "", "schema 1"},
		"digest traversal (CVE-2024-3727)": {`{"schemaVersion":2,"config":{"digest":"sha256:../../etc","size":1},"layers":[]}`, "", "digest"},
		"sha384":                           {`{"schemaVersion":2,"config":{"digest":"sha384:` + strings.Repeat("a", 96) + `","size":1},"layers":[]}`, "", "sha384"},
		"negative size":                    {`{"schemaVersion":2,"config":{"digest":"` + sum.String() + `","size":-1},"layers":[]}`, "", "size -1"},
		"huge config":                      {`{"schemaVersion":2,"config":{"digest":"` + sum.String() + `","size":5000000},"layers":[]}`, "", "size"},
		"artifact":                         {`{"schemaVersion":2,"config":` + config("application/vnd.cncf.helm.config.v1+json") + `,"layers":[]}`, "", "artifact"},
		"encrypted":                        {`{"schemaVersion":2,"config":` + oci + `,"layers":[` + strings.Replace(desc(""), "gzip", "gzip+encrypted", 1) + `]}`, "", "encrypted"},
		"empty index":                      {`{"schemaVersion":2,"manifests":[]}`, "", "0 manifests"},
		"two values":                       {`{"schemaVersion":2,"config":` + oci + `,"layers":[]} {}`, "", "more than one"},
		"not json":                         {`<html>`, "text/html", "invalid character"},
		"neither":                          {`{"schemaVersion":2}`, "", "not an image"},
		"layers":                           {`{"schemaVersion":2,"config":` + oci + `,"layers":[` + strings.Repeat(desc("")+",", MaxLayers) + desc("") + `]}`, "", "layers"},
		"4 MiB (CVE-2020-1702)":            {strings.Repeat(" ", MaxBytes+1), "", "larger"},
	} {
		_, err := Parse([]byte(c.body), c.contentType)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
	}
}

func TestParseConfig(t *testing.T) {
	good := `{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["` + sum.String() + `"]}}`
	if _, err := ParseConfig([]byte(good), 1); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{`{}`, `{"rootfs":{}}`, `[]`, `{"rootfs":{"type":"layers","diff_ids":["sha256:../x"]}}`, `{"rootfs":{"type":"layers","diff_ids":[]}}`} {
		if _, err := ParseConfig([]byte(bad), 1); err == nil {
			t.Errorf("config %s was taken", bad)
		}
	}
}

func platform(s string) ocispec.Platform {
	p := strings.Split(s+"//", "/")
	return ocispec.Platform{OS: p[0], Architecture: p[1], Variant: p[2]}
}

func TestChoose(t *testing.T) {
	for _, c := range []struct {
		want  string
		has   []string
		index int
	}{
		{"linux/amd64", []string{"linux/arm64", "linux/amd64"}, 1},
		{"linux/amd64", []string{"windows/amd64", "linux/386"}, 1},
		{"linux/amd64", []string{"linux/amd64/v3", "linux/amd64"}, 1},
		{"linux/amd64/v3", []string{"linux/amd64/v4", "linux/amd64", "linux/amd64/v2"}, 2},
		{"linux/arm64", []string{"linux/arm/v7", "linux/arm64/v8"}, 1},
		{"linux/arm/v7", []string{"linux/arm/v5", "linux/arm/v6", "linux/arm64"}, 1},
		{"linux/arm/v6", []string{"linux/arm/v7", "linux/arm64"}, -1},
		{"linux/riscv64", []string{"unknown/unknown", "linux/riscv64"}, 1},
		{"linux/s390x", []string{"linux/amd64", ""}, 1},
		{"linux/amd64", []string{"linux/arm64", "unknown/unknown"}, -1},
	} {
		index := &ocispec.Index{}
		for _, h := range c.has {
			d := ocispec.Descriptor{Digest: digest.FromString(h)}
			if h != "" {
				p := platform(h)
				d.Platform = &p
			}
			index.Manifests = append(index.Manifests, d)
		}
		got, err := Choose(index, platform(c.want))
		switch {
		case c.index < 0 && !errors.Is(err, ErrPlatform):
			t.Errorf("%s of %v: %v, want ErrPlatform", c.want, c.has, err)
		case c.index >= 0 && got.Digest != index.Manifests[c.index].Digest:
			t.Errorf("%s of %v: chose %v, %v", c.want, c.has, got.Platform, err)
		}
	}
}

func TestHistories(t *testing.T) {
	c := ocispec.Image{RootFS: ocispec.RootFS{DiffIDs: []digest.Digest{sum, sum}}, History: []ocispec.History{{CreatedBy: "a"}, {EmptyLayer: true}, {CreatedBy: "b"}}}
	if h := Histories(c); h[0].CreatedBy != "a" || h[1].CreatedBy != "b" {
		t.Errorf("histories %+v", h)
	}
	c.History = c.History[:1]
	if h := Histories(c); len(h) != 2 || h[0] != nil {
		t.Errorf("histories %+v", h)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"schemaVersion":2,"config":`+config(ocispec.MediaTypeImageConfig)+`,"layers":[`+desc("")+`]}`), "")
	f.Add([]byte(`{"schemaVersion":2,"manifests":[`+desc("")+`]}`), DockerList)
	f.Add([]byte(`{"rootfs":{"type":"layers","diff_ids":["`+sum.String()+`"]}}`), "")
	f.Fuzz(func(t *testing.T, body []byte, contentType string) {
		if d, err := Parse(body, contentType); err == nil {
			if (d.Manifest == nil) == (d.Index == nil) {
				t.Fatal("a document that is not exactly one kind")
			}
			if d.Index != nil {
				_, _ = Choose(d.Index, platform("linux/amd64"))
				sameToOthers(t, body, "manifests", d.Index.Manifests)
			} else {
				sameToOthers(t, body, "layers", d.Manifest.Layers)
			}
		}
		if c, err := ParseConfig(body, 1); err == nil {
			_ = ChainIDs(c.RootFS.DiffIDs)
			_ = Histories(c)
		}
	})
}

// sameToOthers compares what was read with what a reader sees that takes names as
// they are spelled, and not in any case as encoding/json does.
func sameToOthers(t *testing.T, body []byte, list string, read []ocispec.Descriptor) {
	t.Helper()
	if len(read) > MaxEntries {
		t.Fatalf("%d entries", len(read))
	}
	var plain map[string]json.RawMessage
	var entries []map[string]json.RawMessage
	if err := json.Unmarshal(body, &plain); err != nil {
		t.Fatal(err)
	}
	if plain[list] == nil && len(read) == 0 {
		return
	}
	if err := json.Unmarshal(plain[list], &entries); err != nil || len(entries) != len(read) {
		t.Fatalf("%d entries are read, and there are %d: %v", len(read), len(entries), err)
	}
	for i, e := range entries {
		var d digest.Digest
		if e["digest"] == nil {
			continue
		}
		if err := json.Unmarshal(e["digest"], &d); err != nil || d != read[i].Digest {
			t.Fatalf("entry %d is read as %s and is %s: %v", i, read[i].Digest, d, err)
		}
	}
}
