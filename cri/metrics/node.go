package metrics

import (
	"maps"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/varve-cri/varve/cri/step"
	"github.com/varve-cri/varve/imagestore/progress"
)

// Node is what there is on the node in this moment.
type Node struct {
	Pods       map[string]int // by state
	Containers map[string]int // by state
	Shims      int            // of containers and pods that run
	Spares     map[string]int // what waits ready-made, by kind
	Owed       int            // network detaches that plugins have refused so far
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("varve_"+name, help, labels, nil)
}

var (
	buildDesc      = desc("build_info", "1, with the version of varved.", "version")
	runningDesc    = desc("operations_running", "Operations that run now.")
	stepErrorsDesc = desc("step_errors_total", "Steps of operations that failed; the step \"\" is the whole operation.", "operation", "step")
	stepDesc       = desc("step_duration_seconds", "Time of the steps of operations; the step \"\" is the whole operation.", "operation", "step")

	podsDesc       = desc("pods", "Pods by state.", "state")
	containersDesc = desc("containers", "Containers by state.", "state")
	shimsDesc      = desc("shims", "Shims of running containers and of pods' shared process spaces.")
	sparesDesc     = desc("spares", "What waits ready-made for the next containers and pods, by kind.", "kind")
	owedDesc       = desc("network_detaches_owed", "Networks that plugins have not taken back yet; tried again until they do.")
	leaksDesc      = desc("leaks", "What belongs to nobody, by kind, as the last look has found it; there should be nothing.", "kind")
	leakTimeDesc   = desc("leaks_checked_timestamp_seconds", "When varve_leaks was looked for last.")

	pullsRunningDesc = desc("pulls_running", "Pulls that run now.")
	pullsDesc        = desc("pulls_total", "Pulls that ended, by result: done, unchanged, or the kind of the error.", "result")
	fetchedDesc      = desc("pull_fetched_bytes_total", "Bytes of layers that came from registries.")
	unpackedDesc     = desc("pull_unpacked_bytes_total", "Bytes of layers' archives that were unpacked.")
	retriesDesc      = desc("pull_retries_total", "Requests to registries that were made again.")
	resumesDesc      = desc("pull_resumes_total", "Transfers that were taken up where they broke.")
	pullDesc         = desc("pull_duration_seconds", "Time of a pull.")

	imagesDesc  = desc("images", "Images.")
	layersDesc  = desc("layers", "Layers.")
	damagedDesc = desc("layers_damaged", "Layers that are not what was written and have not been fetched again yet.")
	bytesDesc   = desc("store_bytes", "Bytes that layers take on the disk, shared ones once.")
	inodesDesc  = desc("store_inodes", "Inodes that layers take, shared ones once.")
	trashDesc   = desc("trash_pending", "Removed layers and containers whose space is not free yet.")
)

func gauge(ch chan<- prometheus.Metric, desc *prometheus.Desc, n int, labels ...string) {
	ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(n), labels...)
}

func counter(ch chan<- prometheus.Metric, desc *prometheus.Desc, n uint64, labels ...string) {
	ch <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(n), labels...)
}

func gauges(ch chan<- prometheus.Metric, desc *prometheus.Desc, by map[string]int) {
	for _, k := range slices.Sorted(maps.Keys(by)) {
		gauge(ch, desc, by[k], k)
	}
}

func (r *Registry) collectNode(ch chan<- prometheus.Metric) {
	n := r.from.Node()
	gauges(ch, podsDesc, n.Pods)
	gauges(ch, containersDesc, n.Containers)
	gauge(ch, shimsDesc, n.Shims)
	gauges(ch, sparesDesc, n.Spares)
	gauge(ch, owedDesc, n.Owed)
	counts, at := r.from.Leaks()
	gauges(ch, leaksDesc, counts)
	if !at.IsZero() {
		ch <- prometheus.MustNewConstMetric(leakTimeDesc, prometheus.GaugeValue, float64(at.UnixMilli())/1000)
	}
}

func (r *Registry) collectSteps(ch chan<- prometheus.Metric) {
	gauge(ch, runningDesc, r.from.Steps.Running())
	var bounds []float64
	for i := range step.Buckets - 1 {
		bounds = append(bounds, step.BucketBound(i).Seconds())
	}
	for _, t := range r.from.Steps.Timings() {
		counter(ch, stepErrorsDesc, t.Errors, t.Verb, t.Step)
		ch <- histogram(stepDesc, bounds, t.Counts[:], t.Sum.Seconds(), t.Verb, t.Step)
	}
}

func (r *Registry) collectPulls(ch chan<- prometheus.Metric) {
	t := r.from.Images.Pulls().Totals()
	gauge(ch, pullsRunningDesc, t.Running)
	for _, result := range slices.Sorted(maps.Keys(t.Results)) {
		counter(ch, pullsDesc, t.Results[result], label(result))
	}
	counter(ch, fetchedDesc, t.Fetched)
	counter(ch, unpackedDesc, t.Unpacked)
	counter(ch, retriesDesc, t.Retries)
	counter(ch, resumesDesc, t.Resumes)
	ch <- histogram(pullDesc, progress.Bounds[:], t.Seconds, t.Sum)
}

func (r *Registry) collectStore(ch chan<- prometheus.Metric) {
	s := r.from.Images
	gauge(ch, imagesDesc, len(s.List()))
	gauge(ch, layersDesc, len(s.Layers()))
	gauge(ch, damagedDesc, len(s.Damaged()))
	gauge(ch, trashDesc, s.TrashPending())
	if u, err := s.Usage(); err == nil {
		ch <- prometheus.MustNewConstMetric(bytesDesc, prometheus.GaugeValue, float64(u.Bytes))
		ch <- prometheus.MustNewConstMetric(inodesDesc, prometheus.GaugeValue, float64(u.Inodes))
	}
}
