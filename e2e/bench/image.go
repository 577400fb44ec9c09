package main

import (
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/varve-cri/varve/e2e/testimage"
	"github.com/varve-cri/varve/e2e/testregistry"
)

// The payload's image: by a public-looking name, so that every runtime pulls
// it through its mirror.
const (
	imageRepository = "varve/bench:1"
	imageName       = "registry.example.com/" + imageRepository
	pauseProgram    = "/bin/bench-pause"
	trueProgram     = "/bin/true"
)

// serveImage serves the payload's image on address. The image that containerd
// and CRI-O make their pods with is there too, the payload as its program.
func serveImage(address, payload string) (*testregistry.Registry, error) {
	program, err := os.ReadFile(payload)
	if err != nil {
		return nil, err
	}
	registry, err := testregistry.Listen(address)
	if err != nil {
		return nil, err
	}
	files := []testimage.File{
		testimage.Dir("bin"), testimage.Dir("etc"), testimage.Dir("tmp"), testimage.Dir("proc"), testimage.Dir("dev"), testimage.Dir("sys"),
		testimage.Executable("bin/bench-pause", program),
		testimage.Hardlink("bin/true", "bin/bench-pause"),
		{Name: "etc/passwd", Body: testimage.Passwd}, {Name: "etc/group", Body: testimage.Group},
	}
	image, err := testimage.Build(testimage.Spec{
		Config: v1.Config{Entrypoint: []string{pauseProgram}, Env: []string{"PATH=/bin"}}, Layers: [][]testimage.File{files},
	})
	if err != nil {
		return nil, err
	}
	for _, ref := range []string{imageRepository, "pause:3.10", "pause:3.10.1", "pause:3.10.2"} {
		if err := registry.Push(ref, image); err != nil {
			return nil, err
		}
	}
	return registry, nil
}
