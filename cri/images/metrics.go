package images

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/varve-cri/varve/imagestore"
	"github.com/varve-cri/varve/imagestore/progress"
)

// WriteMetrics writes what the store counts, in Prometheus' text format. It costs
// three listings of directories, for the orphans, and nothing that waits for a
// pull.
func WriteMetrics(w io.Writer, store *imagestore.Store) {
	writePulls(w, store.Pulls().Totals())
	gauge(w, "varve_images", "Images.", len(store.List()))
	gauge(w, "varve_layers", "Layers.", len(store.Layers()))
	gauge(w, "varve_layers_damaged", "Layers that are not what was written and have not been fetched again yet.", len(store.Damaged()))
	if u, err := store.Usage(); err == nil {
		gauge(w, "varve_store_bytes", "Bytes that layers take on the disk, shared ones once.", u.Bytes)
		gauge(w, "varve_store_inodes", "Inodes that layers take, shared ones once.", u.Inodes)
	}
	gauge(w, "varve_trash_pending", "Removed layers and containers whose space is not free yet.", store.TrashPending())
	gauge(w, "varve_damaged_layers", "Layers that are not what was written, until they are fetched again.", len(store.Damaged()))
	if orphans, err := store.Orphans(); err == nil {
		gauge(w, "varve_orphans", "Entries of the store's directories that belong to nothing; there should be none.", len(orphans))
	}
}

func writePulls(w io.Writer, t progress.Totals) {
	gauge(w, "varve_pulls_running", "Pulls that run now.", t.Running)
	head(w, "varve_pulls_total", "counter", "Pulls that ended, by result: done, unchanged, or the kind of the error.")
	for _, result := range slices.Sorted(maps.Keys(t.Results)) {
		fmt.Fprintf(w, "varve_pulls_total{result=%q} %d\n", strings.ReplaceAll(result, " ", "_"), t.Results[result])
	}
	counter(w, "varve_pull_fetched_bytes_total", "Bytes of layers that came from registries.", t.Fetched)
	counter(w, "varve_pull_unpacked_bytes_total", "Bytes of layers' archives that were unpacked.", t.Unpacked)
	counter(w, "varve_pull_retries_total", "Requests to registries that were made again.", t.Retries)
	counter(w, "varve_pull_resumes_total", "Transfers that were taken up where they broke.", t.Resumes)
	head(w, "varve_pull_seconds", "histogram", "Time of a pull.")
	var sum uint64
	for i, n := range t.Seconds {
		sum += n
		bound := "+Inf"
		if i < len(progress.Bounds) {
			bound = fmt.Sprintf("%g", progress.Bounds[i])
		}
		fmt.Fprintf(w, "varve_pull_seconds_bucket{le=%q} %d\n", bound, sum)
	}
	fmt.Fprintf(w, "varve_pull_seconds_sum %g\nvarve_pull_seconds_count %d\n", t.Sum, sum)
}

func head(w io.Writer, name, kind, help string) {
	fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

func gauge[N int | uint64](w io.Writer, name, help string, n N) {
	head(w, name, "gauge", help)
	fmt.Fprintf(w, "%s %d\n", name, n)
}

func counter(w io.Writer, name, help string, n uint64) {
	head(w, name, "counter", help)
	fmt.Fprintf(w, "%s %d\n", name, n)
}
