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

// appendTo appends the subject's metrics of this family. Those without extra labels
// share one list of values.
func (f *family) appendTo(list []*runtimeapi.Metric, s *subject) []*runtimeapi.Metric {
	var at int64
	if f.at != nil {
		when := f.at(s)
		if when.IsZero() {
			return list // not measured yet
		}
		at = when.UnixNano()
	}
	f.values(s, func(v uint64, extra ...string) {
		labels := s.labels
		if len(extra) > 0 {
			labels = make([]string, len(f.order))
			for i, from := range f.order {
				if from < len(s.labels) {
					labels[i] = s.labels[from]
				} else {
					labels[i] = extra[from-len(s.labels)]
				}
			}
		}
		list = append(list, &runtimeapi.Metric{Name: f.name, Timestamp: at, MetricType: f.kind, LabelValues: labels, Value: &runtimeapi.UInt64Value{Value: v}})
	})
	return list
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
