package stats

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/varve-cri/varve/cri/record"
	"github.com/varve-cri/varve/runtime/usage"
)

// Gauge is what is remembered of one container or pod from one request to the
// next. The zero value is ready; Close it when the cgroup goes.
type Gauge struct {
	meter     usage.Meter
	rate      rate
	layer     slow[Layer]
	processes slow[Processes]
	io        growth
	ooms      atomic.Uint64 // as last read
}

// Close lets go of the files that are kept open.
func (g *Gauge) Close() { g.meter.Close() }

// Container is a container to be measured.
type Container struct {
	Record *record.Container
	Gauge  *Gauge
}

// Pod is a pod to be measured. Net is the file that pins its network namespace, ""
// for one on the host's network.
type Pod struct {
	Record     *record.Pod
	Gauge      *Gauge
	Net        string
	Containers []Container
}

// window is how long a rate is measured at least: over less, one tick more or less
// of the scheduler's makes it jump.
const window = time.Second

// rate is how fast a counter of processor time grows, between requests that are
// a window or more apart.
type rate struct {
	mu    sync.Mutex
	at    time.Time // guarded by mu; zero before the first sample
	total uint64    // guarded by mu; at that time
	nano  uint64    // guarded by mu; cores, in billionths
	known bool      // guarded by mu
}

// sample takes the counter's value and gives the rate, if there is one: since the
// sample before, or, the first time, since the counter began at zero.
func (r *rate) sample(now time.Time, total uint64, began time.Time) (nano uint64, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.at.IsZero() {
		r.at = began
	}
	passed := now.Sub(r.at)
	switch {
	case total < r.total: // another group by the same name
		r.at, r.total, r.known = now, total, false
	case passed <= 0, passed < window && r.known:
	default:
		r.nano, r.known = uint64(float64(total-r.total)/passed.Seconds()), true
		if passed >= window {
			r.at, r.total = now, total
		}
	}
	return r.nano, r.known
}

// growth makes counters of block devices that never fall. v1 sums up the groups that
// there are: what an exec wrote is gone from its container's sum with the exec's group.
type growth struct {
	mu   sync.Mutex
	last []usage.Device // guarded by mu; as read
	sums []usage.Device // guarded by mu; as told
}

// grow takes the devices as read and gives them as they are to be told.
func (g *growth) grow(read []usage.Device) []usage.Device {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, d := range read {
		last, sum := find(&g.last, d), find(&g.sums, d)
		for _, f := range []func(*usage.Device) *uint64{
			func(d *usage.Device) *uint64 { return &d.ReadBytes },
			func(d *usage.Device) *uint64 { return &d.WriteBytes },
			func(d *usage.Device) *uint64 { return &d.DiscardBytes },
			func(d *usage.Device) *uint64 { return &d.Reads },
			func(d *usage.Device) *uint64 { return &d.Writes },
		} {
			if now := *f(&d); now > *f(last) {
				*f(sum) += now - *f(last)
			}
			*f(last) = *f(&d)
		}
	}
	return append([]usage.Device(nil), g.sums...)
}

// find is the entry of the device d, begun with zeroes if need be.
func find(list *[]usage.Device, d usage.Device) *usage.Device {
	for i := range *list {
		if have := &(*list)[i]; have.Major == d.Major && have.Minor == d.Minor {
			return have
		}
	}
	*list = append(*list, usage.Device{Major: d.Major, Minor: d.Minor})
	return &(*list)[len(*list)-1]
}
