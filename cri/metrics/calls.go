package metrics

import (
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
)

// callBounds are the bounds of a request's time, in seconds: from a look at a
// record to a start, a stop with its grace period and a pull.
var callBounds = [...]float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300}

// Calls counts the requests of some gRPC services. Make it with NewCalls.
type Calls struct {
	methods map[string]*Method // by full name; never changed
	other   *Method            // of services that it was not made for
}

// Method counts the requests of one method.
type Method struct {
	// Name is without the service: the CRI's methods have different ones.
	Name string
	// Looks says that the method only looks: the kubelet polls those.
	Looks bool

	codes   [codes.Unauthenticated + 1]atomic.Uint64
	buckets [len(callBounds) + 1]atomic.Uint64
	nanos   atomic.Uint64
}

// NewCalls makes a counter for every method of the services.
func NewCalls(services ...*grpc.ServiceDesc) *Calls {
	c := &Calls{methods: map[string]*Method{}, other: &Method{Name: "other"}}
	for _, s := range services {
		for _, m := range s.Methods {
			c.methods["/"+s.ServiceName+"/"+m.MethodName] = &Method{Name: m.MethodName, Looks: looks(m.MethodName)}
		}
		for _, m := range s.Streams {
			c.methods["/"+s.ServiceName+"/"+m.StreamName] = &Method{Name: m.StreamName, Looks: true}
		}
	}
	return c
}

// looks says whether a unary method only looks, by the words of the CRI's names.
// A command that a probe runs is polled like them.
func looks(method string) bool {
	for _, word := range []string{"List", "Status", "Version", "Stats", "Info", "ExecSync", "RuntimeConfig", "Metric"} {
		if strings.Contains(method, word) {
			return true
		}
	}
	return false
}

// Method finds the counter of a method by its full name, "/service/method".
func (c *Calls) Method(full string) *Method {
	if m, ok := c.methods[full]; ok {
		return m
	}
	return c.other
}

// Observe counts one request.
func (m *Method) Observe(code codes.Code, took time.Duration) {
	if int(code) >= len(m.codes) {
		code = codes.Unknown
	}
	m.codes[code].Add(1)
	m.nanos.Add(uint64(max(took, 0)))
	i, _ := slices.BinarySearch(callBounds[:], took.Seconds())
	m.buckets[i].Add(1)
}

var (
	requestsDesc = prometheus.NewDesc("varve_rpc_requests_total", "Requests of the CRI that ended, by method and gRPC code.", []string{"method", "code"}, nil)
	durationDesc = prometheus.NewDesc("varve_rpc_duration_seconds", "Time of the requests of the CRI.", []string{"method"}, nil)
)

// collect tells of the methods that were asked for.
func (c *Calls) collect(ch chan<- prometheus.Metric) {
	for _, m := range c.methods {
		m.collect(ch)
	}
	c.other.collect(ch)
}

func (m *Method) collect(ch chan<- prometheus.Metric) {
	var total uint64
	for i := range m.codes {
		if n := m.codes[i].Load(); n > 0 {
			total += n
			ch <- prometheus.MustNewConstMetric(requestsDesc, prometheus.CounterValue, float64(n), m.Name, codes.Code(i).String())
		}
	}
	if total == 0 {
		return
	}
	counts := make([]uint64, len(m.buckets))
	for i := range counts {
		counts[i] = m.buckets[i].Load()
	}
	ch <- histogram(durationDesc, callBounds[:], counts, float64(m.nanos.Load())/1e9, m.Name)
}

// histogram makes one of counts that are not cumulative; the last is of what is
// above all bounds.
func histogram(desc *prometheus.Desc, bounds []float64, counts []uint64, sum float64, labels ...string) prometheus.Metric {
	cumulative := make(map[float64]uint64, len(bounds))
	var n uint64
	for i, bound := range bounds {
		n += counts[i]
		cumulative[bound] = n
	}
	return prometheus.MustNewConstHistogram(desc, n+counts[len(bounds)], sum, cumulative, labels...)
}

// label makes a label's value of words.
func label(s string) string { return strings.ReplaceAll(s, " ", "_") }
