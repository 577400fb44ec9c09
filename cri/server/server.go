package server

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/apparmor"
	"github.com/varve-cri/varve/cri/cdi"
	"github.com/varve-cri/varve/cri/config"
	"github.com/varve-cri/varve/cri/debt"
	"github.com/varve-cri/varve/cri/event"
	"github.com/varve-cri/varve/cri/hostpath"
	"github.com/varve-cri/varve/cri/images"
	"github.com/varve-cri/varve/cri/leak"
	"github.com/varve-cri/varve/cri/metrics"
	"github.com/varve-cri/varve/cri/network"
	"github.com/varve-cri/varve/cri/plan"
	"github.com/varve-cri/varve/cri/record"
	"github.com/varve-cri/varve/cri/serial"
	"github.com/varve-cri/varve/cri/stats"
	"github.com/varve-cri/varve/cri/step"
	"github.com/varve-cri/varve/cri/streaming"
	"github.com/varve-cri/varve/imagestore"
	"github.com/varve-cri/varve/runtime/namespace"
	"github.com/varve-cri/varve/runtime/seccomp"
	"github.com/varve-cri/varve/shim"
)

// Options is what a Server stands on.
type Options struct {
	Config   *config.Config
	Host     *plan.Host
	Images   *imagestore.Store
	Launcher *shim.Launcher
	Network  *network.Network
	Version  string // of varved
	// Observer follows the steps of all operations; nil for nobody.
	Observer step.Observer
}

// Server answers the CRI's RuntimeService. Make it with New, start the adoption of what a
// daemon before it left with Restore, and register it.
type Server struct {
	runtimeapi.UnimplementedRuntimeServiceServer

	cfg      *config.Config // at the start; what may change since is in settings
	settings atomic.Pointer[settings]
	images   *imagestore.Store
	userns   *usernsProbe
	launcher *shim.Launcher
	spaces   *namespace.Pool
	net      *network.Network
	version  string

	records  *record.Store
	steps    step.Engine
	table    table
	runs     serial.Joint // the requests that change something; see join
	events   event.Broadcast
	debts    debt.Book
	settled  chan struct{} // closed when the network has no attachment from before that nobody owns
	seccomp  seccomp.Cache
	paths    hostpath.Checker
	devices  *cdi.Registry
	apparmor apparmor.Profiles
	stats    *stats.Reader
	streams  *streaming.Server
	begun    time.Time
	calls    *metrics.Calls
	metrics  *metrics.Registry
	leaks    *leak.Watch
}

// New opens the records. It adopts nothing yet: see Restore.
func New(o Options) (*Server, error) {
	records, err := record.Open(o.Config.StateDir)
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg: o.Config, images: o.Images, launcher: o.Launcher, net: o.Network,
		version: o.Version, records: records, begun: time.Now(), stats: stats.NewReader(o.Config.RootDir, o.Images.UsageRW), settled: make(chan struct{}),
	}
	s.userns = newUsernsProbe(o.Images)
	if err := s.Reload(o.Config, o.Host); err != nil {
		return nil, err
	}
	s.spaces = namespace.NewPool(spareNetworks)
	s.devices = cdi.New(o.Config.CDI.SpecDirs)
	s.paths.Limit = o.Config.Requests.HostPathTimeout.Std()
	s.debts.Pay = s.payDebt
	s.steps.Observer = o.Observer
	s.observe()
	s.streams, err = newStreams(o.Config.Streaming, s)
	return s, err
}

// Register adds it and the image service to the gRPC server.
func (s *Server) Register(g *grpc.Server) {
	runtimeapi.RegisterRuntimeServiceServer(g, s)
	runtimeapi.RegisterImageServiceServer(g, images.New(s.images, s.conf))
}

// spareNetworks is how many network namespaces wait for pods.
const spareNetworks = 2

// newID returns 64 hexadecimal digits, as Kubernetes' tools expect ids to be.
func newID() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails since Go 1.24
	return hex.EncodeToString(b[:])
}

func podName(m *runtimeapi.PodSandboxMetadata) string {
	return fmt.Sprintf("%s/%s", m.GetNamespace(), m.GetName())
}
