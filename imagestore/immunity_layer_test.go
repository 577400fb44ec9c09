package imagestore

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-cri/varve/imagestore/layer/layertest"
)

// What layers have done to software of this kind; see immunity_test.go. Single
// archives are in layertest's corpus, which every layer format runs.

// CVE-2021-20291 (and CVE-2022-1227's class): a layer that ends too early, or is
// packed with something else, or goes on, ends in an error: no pull waits for ever,
// and the next one of the same image does not either.
func TestCVE_2021_20291_MalformedLayersEnd(t *testing.T) {
	plain := layertest.Tar(t, layertest.Dir("./", 0o755), layertest.File("f", strings.Repeat("some text. ", 50_000)))
	gz, zst := squeeze(t, "gzip", plain), squeeze(t, "zstd", plain)
	xz := []byte(packedWithXZ)
	for name, c := range map[string]struct {
		blob []byte
		word string
	}{
		"gzip cut":           {gz[:len(gz)/2], "unexpected EOF"},
		"gzip header only":   {gz[:10], "unexpected EOF"},
		"gzip two bytes":     {gz[:2], ""},
		"gzip bad checksum":  {flip(gz, len(gz)-6), "gzip"},
		"gzip damaged":       {flip(gz, len(gz)/2), ""},
		"gzip then rubbish":  {append(bytes.Clone(gz), "rubbish"...), "gzip"},
		"gzip twice":         {append(bytes.Clone(gz), gz...), "digest is"},
		"zstd cut":           {zst[:len(zst)/2], "unexpected EOF"},
		"zstd header only":   {zst[:4], ""},
		"zstd damaged":       {flip(zst, len(zst)/2), ""},
		"zstd then rubbish":  {append(bytes.Clone(zst), "rubbish"...), "zstd"},
		"zstd skips only":    {[]byte{0x50, 0x2a, 0x4d, 0x18, 0xff, 0xff, 0xff, 0x7f}, ""},
		"xz":                 {xz, "packed with xz"},
		"xz cut":             {xz[:len(xz)/2], "packed with xz"},
		"bzip2":              {[]byte("BZh91AY&SY and so on"), "packed with bzip2"},
		"lz4":                {append([]byte{4, 0x22, 0x4d, 0x18}, plain...), "packed with lz4"},
		"gzip within gzip":   {squeeze(t, "gzip", gz), ""},
		"tar cut":            {plain[:len(plain)-3000], "digest is"},
		"tar without an end": {plain[:len(plain)-1024], "digest is"},
		"one byte":           {[]byte{0}, ""},
		"text":               {[]byte(strings.Repeat("text", 1000)), "tar"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRemote(t)
			r.push("app:v1", picture{layers: [][]byte{tarOf(t, "fine"), plain}, format: "gzip", edit: func(m *ocispec.Manifest, _ *ocispec.Image) {
				m.Layers[1].Digest, m.Layers[1].Size = r.blob("app", c.blob), int64(len(c.blob))
			}})
			s := open(t)
			var wg sync.WaitGroup
			for range 3 {
				wg.Go(func() {
					_, err := s.Pull(t.Context(), r.host()+"/app:v1", PullOptions{})
					if k := kind(err); k != Invalid && k != Digest {
						t.Errorf("kind %q: %v", k, err)
					}
				})
			}
			wg.Wait()
			err := refusedAny(t, s, r.host()+"/app:v1")
			if !strings.Contains(fmt.Sprint(err), c.word) || !strings.Contains(fmt.Sprint(err), "layer "+digest.FromBytes(c.blob).String()) {
				t.Errorf("%v, want one with %q and the layer's digest", err, c.word)
			}
		})
	}
}

// refusedAny is refused for an error that may be called malformed or mismatched.
func refusedAny(t *testing.T, s *Store, ref string) error {
	t.Helper()
	_, err := s.Pull(t.Context(), ref, PullOptions{})
	if k := kind(err); k != Invalid && k != Digest {
		t.Errorf("kind %q: %v", k, err)
		return err
	}
	return refused(t, s, ref, kind(err))
}

func flip(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at] ^= 0x55
	return b
}

// packedWithXZ is "some text" as xz packs it.
const packedWithXZ = "\xfd7zXZ\x00\x00\x04\xe6\xd6\xb4F\x02\x00!\x01\x16\x00\x00\x00t/\xe5\xa3\x01\x00\x08some text\x00\x00\x00\x00" +
	"\x91\x80Tc\xbb/p\xaf\x00\x01!\tl\x18\xc5\xd5\x1f\xb6\xf3}\x01\x00\x00\x00\x00\x04YZ"

// CVE-2025-4437, CVE-2026-47262: passwd and group files that are made to eat
// memory, or are something that reading would not end or would do harm with.
func TestCVE_2025_4437_CVE_2026_47262_HugeAccounts(t *testing.T) {
	sparse := func(name string, size int64) []byte {
		dir := t.TempDir()
		if err := os.MkdirAll(dir+"/etc", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(dir+"/etc/"+name, []byte("root:x:0:0::/:\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(dir+"/etc/"+name, size); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("tar", "-C", dir, "--sparse", "--format=gnu", "-cf", "-", ".").Output()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	etc := layertest.Dir("etc", 0o755)
	special := func(name string, kind byte, major, minor int64) []byte {
		return layertest.Tar(t, etc, tar.Header{Name: "etc/" + name, Typeflag: kind, Devmajor: major, Devminor: minor, Mode: 0o666})
	}
	link := func(to string) []byte {
		return layertest.Tar(t, etc, tar.Header{Name: "etc/passwd", Typeflag: tar.TypeSymlink, Linkname: to}, tar.Header{Name: "zero", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 5, Mode: 0o666})
	}
	for name, c := range map[string]struct {
		layer []byte
		word  string
	}{
		"sparse passwd of 8 GiB":  {sparse("passwd", 8<<30), "/etc/passwd has 8589934592 bytes, more than 4194304"},
		"sparse group of 1 GiB":   {sparse("group", 1<<30), "/etc/group has 1073741824 bytes"},
		"passwd of 5 MiB":         {layertest.Tar(t, etc, layertest.File("etc/passwd", strings.Repeat("root:x:0:0:::\n", 400_000))), "/etc/passwd has"},
		"fifo":                    {special("passwd", tar.TypeFifo, 0, 0), "not a regular file"},
		"zeros":                   {special("group", tar.TypeChar, 1, 5), "not a regular file"},
		"device without a driver": {special("passwd", tar.TypeChar, 240, 99), "not a regular file"}, // to open it would say ENXIO
		"directory":               {layertest.Tar(t, etc, layertest.Dir("etc/passwd", 0o755)), "not a regular file"},
		"link to zeros":           {link("../zero"), "not a regular file"},
		"link to itself":          {link("passwd"), "too many levels"},
		"link out":                {link("../../../../../../etc/passwd"), "too many levels"},
		"link into proc":          {link("/proc/self/environ"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRemote(t)
			r.push("app:v1", picture{layers: [][]byte{c.layer}, format: "gzip"})
			s := open(t)
			image := pulled(t, s, r.host()+"/app:v1")
			var passwd, group []byte
			var err error
			grown := heapGrowth(func() {
				for range 3 {
					passwd, group, err = s.Users(image.ID)
				}
			})
			if c.word == "" {
				if err != nil || len(passwd)+len(group) != 0 {
					t.Errorf("%q %q %v", passwd, group, err)
				}
			} else if err == nil || !strings.Contains(err.Error(), c.word) || !strings.Contains(err.Error(), image.ID) {
				t.Errorf("%v, want %q and the image", err, c.word)
			}
			if grown > 16<<20 {
				t.Errorf("the heap grew by %d", grown)
			}
		})
	}
}

// CVE-2022-24778: an encrypted layer is refused, also when another image brought
// the same content in the clear.
func TestCVE_2022_24778_EncryptedLayers(t *testing.T) {
	r := newRemote(t)
	p := picture{layers: [][]byte{tarOf(t, "a")}, format: "gzip"}
	r.push("clear:v1", p)
	s := open(t)
	pulled(t, s, r.host()+"/clear:v1")
	for i, mediaType := range []string{ocispec.MediaTypeImageLayerGzip + "+encrypted", "application/vnd.oci.image.layer.v1.tar+encrypted", "application/vnd.oci.image.layer.v1.tar+zstd+encrypted", "application/vnd.docker.image.rootfs.diff.tar.gzip+encrypted"} {
		q := p
		q.edit = func(m *ocispec.Manifest, _ *ocispec.Image) {
			m.Layers[0].MediaType = mediaType
			m.Layers[0].Annotations = map[string]string{"org.opencontainers.image.enc.keys.jwe": "x"}
		}
		tag := fmt.Sprint("encrypted:v", i)
		r.push(tag, q)
		refused(t, s, r.host()+"/"+tag, Invalid, "layers[0]", "encrypted layers are not supported")
	}
}

// The class of CVE-2024-24557: no image can put content under the identity of
// another one. An id is the digest of the config, a layer's is that of its content;
// who claims them with other bytes fails, and the true image then comes whole.
func TestCVE_2024_24557_NoPoisonedLayers(t *testing.T) {
	r := newRemote(t)
	good := picture{layers: [][]byte{tarOf(t, "base"), tarOf(t, "app")}, format: "gzip"}
	_, id := r.push("good:v1", good)
	evil := squeeze(t, "gzip", tarOf(t, "evil"))
	r.push("evil:v1", picture{layers: good.layers, format: "gzip", edit: func(m *ocispec.Manifest, _ *ocispec.Image) {
		m.Layers[1].Digest, m.Layers[1].Size = r.blob("evil", evil), int64(len(evil))
	}})
	for _, warm := range []bool{false, true} {
		s := open(t)
		if warm {
			// The layers are there: the liar's blob is not even asked for, and the name leads to the true content.
			pulled(t, s, r.host()+"/good:v1")
			if image := pulled(t, s, r.host()+"/evil:v1"); image.ID != id.String() {
				t.Errorf("%+v", image)
			}
		} else {
			refused(t, s, r.host()+"/evil:v1", Digest, "digest is")
		}
		image := pulled(t, s, r.host()+"/good:v1")
		f, err := s.MountImage(image.ID)
		if got := inMount(t, f, err, "app"); image.ID != id.String() || got != "app" {
			t.Errorf("%+v %q", image, got)
		}
		f, err = s.MountImage(image.ID)
		if got := inMount(t, f, err, "evil"); !strings.Contains(got, "no such file") {
			t.Errorf("evil is there: %q", got)
		}
		clean(t, s)
	}
}

// CVE-2024-36621, CVE-2024-36623: pulls and removals of the same images at the
// same time neither race (make test runs this under the race detector) nor leave
// an image without its layers.
func TestCVE_2024_36621_CVE_2024_36623_ConcurrentPulls(t *testing.T) {
	r := newRemote(t)
	for i := range 4 {
		r.push(fmt.Sprintf("app:v%d", i), picture{layers: [][]byte{tarOf(t, "base"), tarOf(t, fmt.Sprint("f", i%2))}, format: "gzip", cmd: fmt.Sprint(i)})
	}
	s := open(t)
	end := time.Now().Add(2 * time.Second)
	var wg sync.WaitGroup
	for w := range 6 {
		wg.Go(func() {
			for i := w; time.Now().Before(end); i++ {
				ref := fmt.Sprintf("%s/app:v%d", r.host(), i%4)
				if i%5 == 0 {
					_ = s.Remove(t.Context(), ref) // it may not be there
					continue
				}
				image := pulled(t, s, ref)
				if f, err := s.MountImage(image.ID); err == nil {
					f.Close()
				} else if got, gone := s.Get(image.ID); gone == nil && len(got.Layers) != 2 {
					t.Errorf("%+v: %v", got, err)
				}
				for _, listed := range s.List() {
					_ = listed.Config.Config.Cmd[0]
				}
			}
		})
	}
	wg.Wait()
	settled(t, s)
	clean(t, s)
}

// CVE-2021-41091, CVE-2021-41103, CVE-2024-25621: no one but root reaches an
// image's setuid programs below the store, also where the directory was there
// before with a wide mode.
func TestCVE_2021_41091_CVE_2021_41103_CVE_2024_25621_ModesOfTheStore(t *testing.T) {
	r := newRemote(t)
	setuid := layertest.File("su", "#!/bin/sh\n")
	setuid.Mode = 0o4755
	r.push("app:v1", picture{layers: [][]byte{layertest.Tar(t, layertest.Dir("./", 0o755), setuid)}})
	root := t.TempDir() + "/store"
	for _, d := range []string{root, root + "/layers", root + "/rw"} {
		if err := os.Mkdir(d, 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	s := open(t, func(c *Config) { c.Root = root })
	image := pulled(t, s, r.host()+"/app:v1")
	if err := s.CreateRW("c", image.ID); err != nil {
		t.Fatal(err)
	}
	var reached []string
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		depth := strings.Count(strings.TrimPrefix(path, root), "/")
		if e.IsDir() && depth < 2 && filepath.Base(path) != baseName && info.Mode().Perm() != 0o700 {
			t.Errorf("%s is %s", path, info.Mode())
		}
		if !e.IsDir() && depth < 2 && info.Mode().Perm()&0o077 != 0 && e.Type() != fs.ModeSymlink {
			t.Errorf("%s is %s", path, info.Mode())
		}
		if filepath.Base(path) == "su" {
			reached = append(reached, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range reached {
		cmd := exec.Command("/usr/bin/stat", path)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "Permission denied") {
			t.Errorf("uid 65534 reaches %s: %v %s", path, err, out)
		}
	}
}

// CVE-2026-41567, CVE-2019-14271: what unpacks an image runs no program, neither
// of the host's nor of the image's.
func TestCVE_2026_41567_CVE_2019_14271_NoHelperPrograms(t *testing.T) {
	trap, ran := t.TempDir(), t.TempDir()+"/ran"
	var files []tar.Header
	for _, name := range []string{"gzip", "gunzip", "unpigz", "pigz", "igzip", "xz", "unxz", "zstd", "unzstd", "bzip2", "tar", "sh", "getent", "mount", "modprobe"} {
		script := "#!/bin/sh\necho $0 >> " + ran + "\n"
		if err := os.WriteFile(trap+"/"+name, []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
		files = append(files, layertest.File("bin/"+name, script), layertest.File("usr/bin/"+name, script))
	}
	files = append(files, layertest.File("etc/nsswitch.conf", "passwd: evil\n"), layertest.File("lib/libnss_evil.so.2", "\x7fELF"), layertest.File("etc/passwd", "root:x:0:0::/:\n"))
	plain := layertest.Tar(t, files...)
	r := newRemote(t)
	for _, format := range []string{"gzip", "zstd", ""} {
		r.push("app:v"+format, picture{layers: [][]byte{tarOf(t, "x"+format), plain}, format: format, cmd: format})
	}
	xz := []byte(packedWithXZ)
	r.push("app:vxz", picture{layers: [][]byte{plain}, edit: func(m *ocispec.Manifest, _ *ocispec.Image) {
		m.Layers[0].MediaType, m.Layers[0].Digest, m.Layers[0].Size = "application/vnd.oci.image.layer.v1.tar+xz", r.blob("app", xz), int64(len(xz))
	}})
	t.Setenv("PATH", trap)
	s := open(t)
	for _, format := range []string{"gzip", "zstd", ""} {
		image := pulled(t, s, r.host()+"/app:v"+format)
		if _, _, err := s.Users(image.ID); err != nil {
			t.Error(err)
		}
	}
	refused(t, open(t), r.host()+"/app:vxz", Invalid, "xz")
	if b, err := os.ReadFile(ran); err == nil {
		t.Errorf("ran: %s", b)
	}
}

// CVE-2026-50195: what an image says of itself names nothing: only the reference
// that was asked for, and the digest, become names.
func TestCVE_2026_50195_ImagesDoNotNameThemselves(t *testing.T) {
	r := newRemote(t)
	names := map[string]string{
		"org.opencontainers.image.ref.name": "docker.io/library/nginx:latest", "io.containerd.image.name": "docker.io/library/nginx:latest",
		"org.criu.checkpoint.rootfsImageName": "docker.io/library/nginx:latest", "io.kubernetes.cri-o.annotations.checkpoint.name": "nginx", "io.cri-containerd.pinned": "pinned",
	}
	d, id := r.push("checkpoint:v1", picture{layers: [][]byte{tarOf(t, "config.dump", "spec.dump", "manifest.json", "repositories")}, edit: func(m *ocispec.Manifest, i *ocispec.Image) {
		m.Annotations, m.Layers[0].Annotations, i.Config.Labels = names, names, names
	}})
	d.Annotations = names
	top := r.index("checkpoint:v2", d)
	s := open(t)
	pulled(t, s, r.host()+"/checkpoint:v1")
	pulled(t, s, r.host()+"/checkpoint:v2")
	image, err := s.Get(id.String())
	if err != nil || image.Pinned || len(image.Tags) != 2 || len(image.Digests) != 2 || len(s.List()) != 1 {
		t.Errorf("%+v, %v", image, err)
	}
	for _, name := range append(image.Tags, image.Digests...) {
		if !strings.HasPrefix(name, r.host()+"/checkpoint") {
			t.Errorf("name %s", name)
		}
	}
	if _, err := s.Get("nginx"); err == nil || image.Digests[0] == image.Digests[1] || !strings.Contains(strings.Join(image.Digests, " "), top.String()) {
		t.Errorf("nginx: %v, digests %v", err, image.Digests)
	}
}

// CVE-2020-15157's other half: a layer's own urls are never asked, also where the
// registry does not have it.
func TestCVE_2020_15157_ForeignLayers(t *testing.T) {
	r, thief := newRemote(t), newRemote(t)
	r.push("app:v1", picture{layers: [][]byte{tarOf(t, "a")}, format: "gzip", edit: func(m *ocispec.Manifest, _ *ocispec.Image) {
		m.Layers[0].MediaType = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
		m.Layers[0].URLs = []string{thief.URL + "/layer", "file:///etc/passwd"}
		m.Layers[0].Digest = digest.FromString("elsewhere")
		thief.breaks(func(w http.ResponseWriter, q *http.Request) bool {
			t.Errorf("asked for %s with %q", q.URL, q.Header.Get("Authorization"))
			return false
		})
	}})
	refusedWith(t, open(t), r.host()+"/app:v1", PullOptions{Auth: &Auth{Username: "u", Password: "p"}}, NotFound, "404", digest.FromString("elsewhere").String())
}
