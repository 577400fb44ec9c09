package main

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"k8s.io/klog/v2"

	"github.com/varve-cri/varve/cri/admin"
	"github.com/varve-cri/varve/cri/config"
	"github.com/varve-cri/varve/cri/network"
	"github.com/varve-cri/varve/cri/plan"
	"github.com/varve-cri/varve/cri/plan/host"
	"github.com/varve-cri/varve/cri/server"
	"github.com/varve-cri/varve/cri/step"
	"github.com/varve-cri/varve/cri/trace"
	"github.com/varve-cri/varve/imagestore"
	"github.com/varve-cri/varve/runtime/cgroup"
	"github.com/varve-cri/varve/shim"
)

// maxMessage is the size of a gRPC message: an ExecSync answer holds two
// streams of up to 16 MiB.
const (
	maxRequest = 16 << 20
	maxAnswer  = 2*16<<20 + 1<<16
)

// serve runs the daemon until a signal ends it. Containers go on without it:
// there is no other shutdown than a crash.
func serve(cfg *config.Config, f flags, signals <-chan os.Signal) error {
	if err := checkRoot(); err != nil {
		return err
	}
	unlock, err := lockState(cfg.StateDir)
	if err != nil {
		return err
	}
	defer unlock()
	listener, err := listen(cfg.Socket)
	if err != nil {
		return err
	}
	defer os.Remove(cfg.Socket) //nolint:errcheck // a stale one is removed by the next start
	adminListener, err := listenAdmin(cfg)
	if err != nil {
		return err
	}
	tracing, err := trace.Start(context.Background(), cfg.Tracing, version)
	if err != nil {
		return err
	}
	defer flush(tracing)
	s, images, closeAll, err := assemble(cfg, tracing.Observer())
	if err != nil {
		return err
	}
	defer closeAll()
	if _, err := s.Restore(); err != nil {
		return err
	}
	g := grpc.NewServer(append(append(s.Options(), tracing.Options()...),
		grpc.MaxRecvMsgSize(maxRequest), grpc.MaxSendMsgSize(maxAnswer), grpc.MaxConcurrentStreams(math.MaxUint32),
	)...)
	s.Register(g)
	r := &reloader{flags: f, server: s, images: images, cfg: cfg}
	failed := make(chan error, 4)
	go func() { failed <- s.Streams().Serve() }()
	if address := cfg.Metrics.Address; address != "" {
		m := &http.Server{Addr: address, Handler: s.Metrics(), ReadHeaderTimeout: 10 * time.Second}
		go func() { failed <- fmt.Errorf("metrics: %w", m.ListenAndServe()) }()
	}
	if adminListener != nil {
		defer os.Remove(cfg.Admin.Socket) //nolint:errcheck // as the other one
		a := admin.New(admin.Options{Store: images, Live: s.Operations, Metrics: s.Metrics(), Reload: r.reload, Version: version})
		defer a.Close() //nolint:errcheck // its connections end
		go func() { failed <- fmt.Errorf("socket %s: serve: %w", cfg.Admin.Socket, a.Serve(adminListener)) }()
	}
	go func() { failed <- fmt.Errorf("socket %s: serve: %w", cfg.Socket, g.Serve(listener)) }()
	klog.InfoS("Serving the CRI", "socket", cfg.Socket, "version", version)
	for {
		select {
		case sig := <-signals:
			if sig == syscall.SIGHUP {
				r.hangUp()
				continue
			}
			klog.InfoS("Stopping; containers go on", "signal", sig.String())
			g.Stop()
			return nil
		case err := <-failed:
			return err
		}
	}
}

// flush sends the last traces, if the collector takes them soon.
func flush(t *trace.Tracing) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := t.Close(ctx); err != nil {
		klog.ErrorS(err, "The last traces are lost")
	}
}

// assemble opens everything that the server stands on.
func assemble(cfg *config.Config, observer step.Observer) (*server.Server, *imagestore.Store, func(), error) {
	images, err := imagestore.Open(imageConfig(cfg))
	if err != nil {
		return nil, nil, nil, err
	}
	format := images.Format()
	klog.InfoS("Image layers", "format", format.Name, "reason", format.Reason)
	facts, err := hostFacts(cfg)
	if err != nil {
		return nil, nil, nil, err
	}
	conflist, err := cfg.DefaultConflist()
	if err != nil {
		return nil, nil, nil, err
	}
	net, err := network.New(network.Config{
		ConfDir: cfg.Network.ConfDir, BinDirs: cfg.Network.BinDirs, StateDir: cfg.Network.CacheDir, Default: conflist,
	})
	if err != nil {
		return nil, nil, nil, err
	}
	launcher, err := newLauncher(cfg)
	if err != nil {
		return nil, nil, nil, err
	}
	s, err := server.New(server.Options{
		Config: cfg, Host: facts, Images: images, Launcher: launcher, Network: net, Version: version, Observer: observer,
	})
	if err != nil {
		return nil, nil, nil, err
	}
	return s, images, func() {
		_ = s.Streams().Close()
		_ = launcher.Close() // the spares; they would notice our end as well
		_ = images.Close()
	}, nil
}

func hostFacts(cfg *config.Config) (*plan.Host, error) {
	facts, notes, err := host.Read(cfg, host.Cgroups{Unified: cgroup.UnifiedControllers(), SwapLimit: swapLimit()})
	for _, n := range notes {
		klog.InfoS("Degraded on this node", "what", n)
	}
	return facts, err
}

// swapLimit says whether the memory controller can limit swap: on cgroup v1
// that is a boot option on some distributions.
func swapLimit() bool {
	g := cgroup.Open("/")
	for _, dir := range g.V1Paths() {
		if _, err := os.Stat(dir + "/memory.memsw.limit_in_bytes"); err == nil {
			return true
		}
	}
	return cgroup.Detect() == cgroup.V2
}

func newLauncher(cfg *config.Config) (*shim.Launcher, error) {
	binary := cfg.Shim.Path
	if binary == "" {
		self, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("shim program: %w", err)
		}
		binary = filepath.Join(filepath.Dir(self), "varve-shim")
	}
	spares := *cfg.Shim.Spares
	if spares == 0 {
		spares = -1 // the launcher's word for none
	}
	return shim.NewLauncher(shim.LauncherConfig{
		Binary: binary, Spares: spares, LogPath: filepath.Join(cfg.StateDir, "shims.log"),
	})
}
