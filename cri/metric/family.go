package metric

import (
	"slices"
	"strings"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/record"
	"github.com/varve-cri/varve/cri/stats"
	"github.com/varve-cri/varve/runtime/usage"
)

// baseKeys are the labels of every metric, as the kubelet's cAdvisor has them: id is the
// cgroup, name the container's id.
var baseKeys = []string{"container", "id", "image", "name", "namespace", "pod"}

// family is one metric of all containers, or pods.
type family struct {
	name, help string
	kind       runtimeapi.MetricType
	extra      []string // keys beside the base ones, sorted
	values     func(s *subject, add add)
	at         func(s *subject) time.Time // nil: the values are live

	keys  []string // all, sorted
	order []int    // where each is in the base's values followed by the extra ones
}

// add adds one value, with those of the extra keys.
type add func(v uint64, extra ...string)

// subject is what metrics are made of: a container, or a pod's own cgroup and
// network.
type subject struct {
	labels     []string // values of baseKeys
	sample     *stats.Sample
	container  *record.Container // nil for a pod
	began      int64             // nanoseconds since 1970: the start
	made       int64             // the creation
	now        time.Time
	disk       *disk
	interfaces []stats.Interface
}

func (s *subject) usage() *usage.Usage { return s.sample.Usage }

// complete computes keys and order.
func (f family) complete() family {
	all := slices.Concat(baseKeys, f.extra)
	f.keys = slices.Sorted(slices.Values(all))
	for _, k := range f.keys {
		f.order = append(f.order, slices.Index(all, k))
	}
	return f
}

func (f *family) descriptor() *runtimeapi.MetricDescriptor {
	return &runtimeapi.MetricDescriptor{Name: f.name, Help: f.help, LabelKeys: f.keys}
}

// list is metrics that are being made. They are allocated many at a time: there are
// some seventy of each container.
type list struct {
	all     []*runtimeapi.Metric
	metrics []runtimeapi.Metric
	values  []runtimeapi.UInt64Value
}

const slab = 64

func (l *list) add(v uint64) *runtimeapi.Metric {
	if len(l.metrics) == 0 {
		l.metrics, l.values = make([]runtimeapi.Metric, slab), make([]runtimeapi.UInt64Value, slab)
	}
	m := &l.metrics[0]
	m.Value = &l.values[0]
	m.Value.Value = v
	l.metrics, l.values = l.metrics[1:], l.values[1:]
	l.all = append(l.all, m)
	return m
}

// collect makes the subject's metrics of the families.
func (l *list) collect(s *subject, families []family) {
	for i := range families {
		families[i].collect(l, s)
	}
}

// collect makes the subject's metrics of this family. Those without extra labels
// share one list of values.
func (f *family) collect(l *list, s *subject) {
	var at int64
	if f.at != nil {
		when := f.at(s)
		if when.IsZero() {
			return // not measured yet
		}
		at = when.UnixNano()
	}
	f.values(s, func(v uint64, extra ...string) {
		m := l.add(v)
		m.Name, m.Timestamp, m.MetricType, m.LabelValues = f.name, at, f.kind, s.labels
		if len(extra) == 0 {
			return
		}
		m.LabelValues = make([]string, len(f.order))
		for i, from := range f.order {
			if from < len(s.labels) {
				m.LabelValues[i] = s.labels[from]
			} else {
				m.LabelValues[i] = extra[from-len(s.labels)]
			}
		}
	})
}

func counter(name, help string, value func(*subject) uint64) family {
	return family{name: name, help: help, kind: runtimeapi.MetricType_COUNTER, values: one(value)}
}

func gauge(name, help string, value func(*subject) uint64) family {
	return family{name: name, help: help, kind: runtimeapi.MetricType_GAUGE, values: one(value)}
}

func one(value func(*subject) uint64) func(*subject, add) {
	return func(s *subject, add add) { add(value(s)) }
}

// labelled gives a family extra keys, which must be sorted.
func (f family) labelled(values func(*subject, add), extra ...string) family {
	f.extra, f.values = extra, values
	return f
}

// measured marks a family whose values were measured at another time.
func (f family) measured(at func(*subject) time.Time) family {
	f.at = at
	return f
}

// only leaves subjects out.
func (f family) only(wanted func(*subject) bool) family {
	values := f.values
	f.values = func(s *subject, add add) {
		if wanted(s) {
			values(s, add)
		}
	}
	return f
}

func seconds(nanoseconds uint64) uint64 { return nanoseconds / uint64(time.Second) }

func unixSeconds(nanoseconds int64) uint64 { return uint64(max(0, nanoseconds)) / uint64(time.Second) }

// finite is a limit as cAdvisor tells it: 0 for none.
func finite(limit uint64) uint64 {
	if limit > 1<<62 {
		return 0
	}
	return limit
}

func byName(a, b family) int { return strings.Compare(a.name, b.name) }
