package metrics

import (
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/varve-cri/varve/cri/step"
	"github.com/varve-cri/varve/imagestore"
)

// Sources is where the numbers come from.
type Sources struct {
	Version string // of varved
	Calls   *Calls
	Steps   *step.Engine
	Images  *imagestore.Store
	Node    func() Node
	// Leaks is how much of each kind belonged to nobody at the last look, and when
	// that was.
	Leaks func() (byKind map[string]int, at time.Time)
}

// Registry is what Prometheus scrapes. Make it with New.
type Registry struct {
	from Sources
	once sync.Once
	http http.Handler
}

// New makes a registry, which costs nothing until it is asked.
func New(from Sources) *Registry { return &Registry{from: from} }

// ServeHTTP answers a scrape.
func (r *Registry) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	r.once.Do(func() { r.http = promhttp.HandlerFor(r.Gatherer(), promhttp.HandlerOpts{}) })
	r.http.ServeHTTP(w, q)
}

// Gatherer is a new registry of Prometheus' own with everything in it.
func (r *Registry) Gatherer() prometheus.Gatherer {
	g := prometheus.NewRegistry()
	g.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), r)
	return g
}

// Describe tells Prometheus nothing: which of the metrics there are depends on
// what has happened.
func (r *Registry) Describe(chan<- *prometheus.Desc) {}

// Collect tells all metrics of varve's own.
func (r *Registry) Collect(ch chan<- prometheus.Metric) {
	gauge(ch, buildDesc, 1, r.from.Version)
	r.from.Calls.collect(ch)
	r.collectSteps(ch)
	r.collectNode(ch)
	r.collectPulls(ch)
	r.collectStore(ch)
}
