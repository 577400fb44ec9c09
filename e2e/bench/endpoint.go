package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/e2e/bench/figure"
	"github.com/varve-cri/varve/e2e/criclient"
	"github.com/varve-cri/varve/e2e/node"
)

// endpoint is one runtime that is measured.
type endpoint struct {
	name   string
	socket string
	node   *node.Node // varve's own, nil for the others
	client *criclient.Client
	figure.Samples
	churned *history // nil before the part "churn"
}

// connect brings varve's node up and connects to every runtime. Varve is first.
func (b *bench) connect() error {
	if b.bin != "" {
		if err := b.connectNode(); err != nil {
			return err
		}
	}
	for _, flag := range b.options.endpoints {
		name, address, _ := strings.Cut(flag, "=")
		b.endpoints = append(b.endpoints, &endpoint{name: name, socket: strings.TrimPrefix(address, "unix://")})
	}
	if len(b.endpoints) == 0 {
		return errors.New("nothing to measure: neither -bin nor -endpoint")
	}
	for _, e := range b.endpoints {
		if err := e.dial(); err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
	}
	return nil
}

// connectNode starts varve's node as a real one would be laid out: images on a
// disk, state on a tmpfs, as /run is everywhere but on some test machines.
func (b *bench) connectNode() error {
	bin, err := filepath.Abs(b.bin)
	if err != nil {
		return err
	}
	if b.state, err = os.MkdirTemp(memoryDir(b.dir), "varve-bench-"); err != nil {
		return err
	}
	images, dir := filepath.Join(b.dir, "images"), filepath.Join(b.state, "node")
	if err := errors.Join(os.Mkdir(images, 0o700), os.Mkdir(dir, 0o700), os.Symlink(images, filepath.Join(dir, "images"))); err != nil {
		return err
	}
	n, err := node.Plan(dir, node.Options{Mirror: b.registry.URL()})
	if err != nil {
		return err
	}
	b.endpoints = append(b.endpoints, &endpoint{name: "varve", socket: n.Socket(), node: n})
	return n.Start(filepath.Join(bin, "varved"))
}

// memoryDir is a directory on a tmpfs, or the other one when there is none.
func memoryDir(other string) string {
	for _, dir := range []string{"/run", "/dev/shm"} {
		var fs unix.Statfs_t
		if unix.Statfs(dir, &fs) == nil && fs.Type == unix.TMPFS_MAGIC {
			return dir
		}
	}
	return other
}

// dial connects and pulls the payload's image.
func (e *endpoint) dial() error {
	client, err := criclient.Dial(e.socket)
	if err != nil {
		return err
	}
	e.client = client
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err = client.PullImage(ctx, &runtimeapi.PullImageRequest{Image: &runtimeapi.ImageSpec{Image: imageName}})
	if err != nil {
		return fmt.Errorf("pull %s: %w", imageName, err)
	}
	return nil
}

func (e *endpoint) close() error {
	if e.client != nil {
		e.client.Close()
	}
	if e.node != nil {
		return e.node.Down()
	}
	return nil
}

// daemon is the process that listens on the endpoint's socket.
func (e *endpoint) daemon() (int, error) {
	if e.node != nil {
		return e.node.PID(), nil
	}
	conn, err := net.Dial("unix", e.socket)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	raw, err := conn.(*net.UnixConn).SyscallConn() //nolint:forcetypeassert // the network was "unix"
	if err != nil {
		return 0, err
	}
	var peer *unix.Ucred
	var asked error
	err = raw.Control(func(fd uintptr) { peer, asked = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err := errors.Join(err, asked); err != nil {
		return 0, err
	}
	return int(peer.Pid), nil
}

// stats is the Stat of a sample for each endpoint.
func (b *bench) stats(name string) []figure.Stat {
	var out []figure.Stat
	for _, e := range b.endpoints {
		out = append(out, e.Stat(name))
	}
	return out
}

// columns are the endpoints' names.
func (b *bench) columns() []string {
	var out []string
	for _, e := range b.endpoints {
		out = append(out, e.name)
	}
	return out
}

// varve is the first column's endpoint if it is varve.
func (b *bench) varve() *endpoint {
	if len(b.endpoints) > 0 && b.endpoints[0].node != nil {
		return b.endpoints[0]
	}
	return nil
}

// logDir is where the pods of a run log to.
func (b *bench) logDir() string {
	dir := filepath.Join(b.dir, "logs")
	os.MkdirAll(dir, 0o700) //nolint:errcheck // a runtime that cannot write there says so
	return dir
}
