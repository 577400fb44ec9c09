package testimage

import (
	"runtime"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Spec describes an image. The zero Config runs the probe without arguments.
type Spec struct {
	Config       v1.Config
	Architecture string   // this machine's when empty
	Layers       [][]File // lowest first
}

// Build makes the image with OCI media types.
func Build(s Spec) (v1.Image, error) {
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	var layers []mutate.Addendum
	for _, files := range s.Layers {
		layer, err := Layer(files...)
		if err != nil {
			return nil, err
		}
		layers = append(layers, mutate.Addendum{
			Layer: layer, MediaType: types.OCILayer, History: v1.History{CreatedBy: "testimage"},
		})
	}
	img, err := mutate.Append(img, layers...)
	if err != nil {
		return nil, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.Config, config.OS, config.Architecture = s.Config, "linux", s.Architecture
	if config.Architecture == "" {
		config.Architecture = runtime.GOARCH
	}
	return mutate.ConfigFile(img, config)
}

// Probe is the image that most tests use: the probe at /bin/probe, users and
// groups, a /tmp, and nothing else.
func Probe(config v1.Config, extra ...File) (v1.Image, error) {
	files, err := ProbeFiles()
	if err != nil {
		return nil, err
	}
	if config.Entrypoint == nil {
		config.Entrypoint = []string{"/bin/probe"}
	}
	if config.Env == nil {
		config.Env = []string{"PATH=/bin"}
	}
	layers := [][]File{files}
	if len(extra) > 0 {
		layers = append(layers, extra)
	}
	return Build(Spec{Config: config, Layers: layers})
}

// ProbeFiles is the content of the Probe image.
func ProbeFiles() ([]File, error) {
	probe, err := Program("github.com/varve-cri/varve/e2e/probe")
	if err != nil {
		return nil, err
	}
	return []File{
		Dir("bin"), Dir("etc"), Dir("tmp"),
		Executable("bin/probe", probe),
		{Name: "etc/passwd", Body: Passwd},
		{Name: "etc/group", Body: Group},
		{Name: "etc/note", Body: "from the image\n"},
	}, nil
}

// Passwd and Group are the users of the Probe image. The user named "1000"
// with uid 0 is CVE-2016-3697's.
const (
	Passwd = "root:x:0:0:root:/root:/bin/sh\nalice:x:1234:1235:Alice:/home/alice:/bin/sh\n1000:x:0:0:trap:/root:/bin/sh\n"
	Group  = "root:x:0:\nalice:x:1235:\nstaff:x:2000:alice\nthousand:x:2001:1000\n"
)
