package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/containernetworking/cni/libcni"

	"github.com/varve-cri/varve/cri/config"
	"github.com/varve-cri/varve/e2e/bench/figure"
	"github.com/varve-cri/varve/runtime/namespace"
)

// pluginSample names the plugins' share of the sums over a pod.
var pluginSample = map[string]string{"pod up": "ADD", "pod down": "DEL"}

// plugins runs the network that varve's pods have by itself, in network
// namespaces that nobody else uses: what it takes is no runtime's fault.
type plugins struct {
	dir  string
	list *libcni.NetworkConfigList
	cni  *libcni.CNIConfig
	n    int
	figure.Samples
}

// newPlugins takes the network of varve's node; without one it measures nothing.
func newPlugins(b *bench) (*plugins, error) {
	p := &plugins{dir: filepath.Join(b.dir, "plugins")}
	varve := b.varve()
	if varve == nil {
		return p, nil
	}
	if err := os.Mkdir(p.dir, 0o700); err != nil {
		return nil, err
	}
	confs := filepath.Join(varve.node.Dir, "cni/net.d")
	files, err := libcni.ConfFiles(confs, []string{".conflist"})
	if err != nil || len(files) == 0 {
		return nil, errors.Join(err, fmt.Errorf("no network in %s", confs))
	}
	if p.list, err = libcni.ConfListFromFile(files[0]); err != nil {
		return nil, err
	}
	p.cni = libcni.NewCNIConfigWithCacheDir(config.Default().Network.BinDirs, filepath.Join(p.dir, "cache"), nil)
	return p, nil
}

// measure adds one ADD and one DEL.
func (p *plugins) measure(ctx context.Context) error {
	if p.list == nil {
		return nil
	}
	p.n++
	pins := namespace.Pins{Dir: filepath.Join(p.dir, fmt.Sprint(p.n))}
	if err := namespace.Pin(pins.Dir, namespace.Spec{Net: true}); err != nil {
		return err
	}
	rt := &libcni.RuntimeConf{ContainerID: fmt.Sprintf("bench%d-%d", os.Getpid(), p.n), NetNS: pins.Net(), IfName: "eth0"}
	begin := time.Now()
	_, added := p.cni.AddNetworkList(ctx, p.list, rt)
	up := time.Now()
	removed := p.cni.DelNetworkList(ctx, p.list, rt)
	down := time.Now()
	if err := errors.Join(added, removed, namespace.Unpin(pins.Dir)); err != nil {
		return fmt.Errorf("the network plugins by themselves: %w", err)
	}
	if p.n > 1 { // the first makes the bridge's and the firewall's common parts
		p.Of("ADD").AddTime(up.Sub(begin))
		p.Of("DEL").AddTime(down.Sub(up))
	}
	return nil
}

// close takes down the namespaces of a measurement that was cut off.
func (p *plugins) close() error {
	left, err := os.ReadDir(p.dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	errs := []error{err}
	for _, entry := range left {
		if entry.Name() != "cache" {
			errs = append(errs, namespace.Unpin(filepath.Join(p.dir, entry.Name())))
		}
	}
	return errors.Join(errs...)
}
