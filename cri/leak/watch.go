package leak

import (
	"slices"
	"sync"
	"time"

	"k8s.io/klog/v2"
)

// The kinds of what may be left over.
const (
	Mount     = "mount"
	Namespace = "namespace"
	Cgroup    = "cgroup"
	Shim      = "shim"
	State     = "state" // a directory of records
	Layer     = "layer"
)

var kinds = []string{Cgroup, Layer, Mount, Namespace, Shim, State}

// Owners says whose things there may be.
type Owners struct {
	// StateDir is the daemon's own; what lies in it is looked at.
	StateDir string
	// Known says whether there is a pod or container with the id, or one that is
	// just being made or removed.
	Known func(id string) bool
	// Groups are the cgroups below which pods and containers have theirs.
	Groups func() []string
	// Layers are the ids of the containers with a read-write layer, and the
	// entries of the image store that belong to nothing.
	Layers func() (ids, orphans []string)
}

// Finding is one thing that belongs to nobody.
type Finding struct{ Kind, What string }

// age is how old a look may be when somebody asks.
const age = 5 * time.Second

// Watch remembers what was found. Make it with New.
type Watch struct {
	owners Owners

	looking sync.Mutex // held during a look

	// mu guards what follows. No system call is made under it.
	mu    sync.Mutex
	seen  map[Finding]bool // by the last look
	leaks []Finding        // seen twice in a row
	at    time.Time        // of the last look
	busy  bool             // a look runs in the background
}

// New makes a watch, which looks at nothing until it is asked.
func New(o Owners) *Watch { return &Watch{owners: o} }

// Counts is how much of each kind the last look has found, and when that was: the
// zero time before the first. When it is old, another one begins, for the next
// who asks.
func (w *Watch) Counts() (map[string]int, time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.busy && time.Since(w.at) > age {
		w.busy = true
		go func() {
			w.Look()
			w.mu.Lock()
			w.busy = false
			w.mu.Unlock()
		}()
	}
	counts := map[string]int{}
	for _, k := range kinds {
		counts[k] = 0
	}
	for _, f := range w.leaks {
		counts[f.Kind]++
	}
	return counts, w.at
}

// Look looks now, and returns what this look and the one before have found. What
// is new of it is logged.
func (w *Watch) Look() []Finding {
	w.looking.Lock()
	defer w.looking.Unlock()
	found := w.owners.look()
	w.mu.Lock()
	before, known := w.seen, w.leaks
	var leaks []Finding
	seen := map[Finding]bool{}
	for _, f := range found {
		if before[f] && !seen[f] {
			leaks = append(leaks, f)
		}
		seen[f] = true
	}
	w.seen, w.leaks, w.at = seen, leaks, time.Now()
	w.mu.Unlock()
	for _, f := range leaks {
		if !slices.Contains(known, f) {
			klog.ErrorS(nil, "Something belongs to nobody", "kind", f.Kind, "what", f.What)
		}
	}
	return leaks
}
