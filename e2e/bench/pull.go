package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/e2e/bench/figure"
	"github.com/varve-cri/varve/e2e/bench/pullset"
)

// pullTarget is what issue 3 wants of one image.
type pullTarget struct {
	spec            pullset.Spec
	pull, overLimit *figure.Target
	remove          *figure.Target // the call's return, milliseconds
}

var pullTargets = []pullTarget{
	{pullset.Small, figure.AtMost(0.6), nil, nil},
	{pullset.Big, figure.AtMost(3.6), figure.AtMost(1.35), figure.AtMost(20)},
}

// measurePulls pulls and removes both images through each runtime in turn.
func (b *bench) measurePulls(ctx context.Context) error {
	var images []*pullset.Image
	for _, target := range pullTargets {
		progress("making image %s, if it is not in the cache", target.spec.Name)
		image, err := pullset.Make(target.spec)
		if err != nil {
			return err
		}
		images = append(images, image)
	}
	server, err := b.servePulls(images)
	if err != nil {
		return err
	}
	defer server.Close()
	for i, target := range pullTargets {
		section, err := b.pullImage(ctx, target, images[i])
		if err != nil {
			return err
		}
		b.pull = append(b.pull, section)
	}
	return nil
}

// servePulls serves the images where the payload's image was so far: it is
// pulled by now, and the runtimes know but one mirror.
func (b *bench) servePulls(images []*pullset.Image) (*http.Server, error) {
	if err := b.registry.Close(); err != nil {
		return nil, err
	}
	root := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v2/" {
			http.NotFound(w, r)
		}
	})
	listener, err := net.Listen("tcp", b.registry.Host)
	if err != nil {
		return nil, err
	}
	server := &http.Server{Handler: pullset.Handler(root, images...), ReadHeaderTimeout: time.Minute}
	go server.Serve(listener) //nolint:errcheck // ends with Close
	return server, nil
}

// pullImage measures one image and makes its table.
func (b *bench) pullImage(ctx context.Context, target pullTarget, image *pullset.Image) (figure.Section, error) {
	var limit figure.Sample
	for i := range b.pulls {
		progress("pull %d of %d of %s", i+1, b.pulls, image.Name)
		unix.Sync() // what the last round left to write is not this one's
		took, err := image.Limit(b.dir)
		if err != nil {
			return figure.Section{}, err
		}
		limit.Add(took.Seconds())
		for _, e := range b.endpoints {
			unix.Sync()
			if err := e.pullOnce(ctx, image.Name); err != nil {
				return figure.Section{}, err
			}
		}
	}
	return b.pullSection(target, image, limit.Stat()), nil
}

// pullOnce pulls and removes an image.
func (e *endpoint) pullOnce(ctx context.Context, name string) error {
	spec := &runtimeapi.ImageSpec{Image: "registry.example.com/" + name + ":1"}
	daemon, err := e.daemon()
	if err != nil {
		return err
	}
	memory := watchMemory(daemon)
	begin := time.Now()
	_, err = e.client.PullImage(ctx, &runtimeapi.PullImageRequest{Image: spec})
	pulled := time.Now()
	e.Of(name + " memory").Add(memory.stop())
	if err != nil {
		return fmt.Errorf("pull %s through %s: %w", name, e.name, err)
	}
	e.Of(name + " pull").Add(pulled.Sub(begin).Seconds())
	unix.Sync()
	begin = time.Now()
	if _, err := e.client.RemoveImage(ctx, &runtimeapi.RemoveImageRequest{Image: spec}); err != nil {
		return fmt.Errorf("remove %s through %s: %w", name, e.name, err)
	}
	e.Of(name + " remove").AddTime(time.Since(begin))
	return nil
}

func (b *bench) pullSection(target pullTarget, image *pullset.Image, limit figure.Stat) figure.Section {
	var packed, plain int64
	for _, l := range image.Layers {
		packed, plain = packed+l.Size, plain+l.Bytes
	}
	s := figure.Section{Columns: b.columns(), Title: fmt.Sprintf("Pull of an image: layers %d, %d MiB gzip, %d MiB, %d entries",
		len(image.Layers), packed>>20, plain>>20, target.spec.Entries)}
	name := image.Name
	s.Add("limit: inflate, both digests, a plain file for each layer, fsync", "s", nil, limit)
	s.Add("PullImage", "s", target.pull, b.stats(name+" pull")...)
	s.Add("  PullImage / limit", "x", target.overLimit, ratio(b.stats(name + " pull")[0], limit.Median))
	s.Add("peak memory of the daemon above idle", "MiB", figure.AtMost(64), b.stats(name+" memory")...)
	s.Add("RemoveImage returns", "ms", target.remove, b.stats(name+" remove")...)
	return s
}
