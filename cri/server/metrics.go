package server

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/varve-cri/varve/cri/images"
	"github.com/varve-cri/varve/cri/step"
)

// Metrics serves, in Prometheus' text format, how long each step of each
// operation takes, how many operations run, and what the image store counts.
func (s *Server) Metrics() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_, _ = w.Write([]byte(s.exposition()))
	})
}

// Operations are those that run now, newest first.
func (s *Server) Operations() []step.Live { return s.steps.Live() }

func (s *Server) exposition() string {
	var b strings.Builder
	b.WriteString("# HELP varve_running_operations Operations that run now.\n# TYPE varve_running_operations gauge\n")
	fmt.Fprintf(&b, "varve_running_operations %d\n", len(s.steps.Live()))
	timings := s.steps.Timings()
	b.WriteString("# HELP varve_step_errors_total Steps that failed.\n# TYPE varve_step_errors_total counter\n")
	for _, t := range timings {
		fmt.Fprintf(&b, "varve_step_errors_total{operation=%q,step=%q} %d\n", t.Verb, t.Step, t.Errors)
	}
	b.WriteString("# HELP varve_step_seconds Time of one step of an operation; step \"\" is the whole.\n# TYPE varve_step_seconds histogram\n")
	for _, t := range timings {
		var sum uint64
		for i, n := range t.Counts {
			sum += n
			if bound := step.BucketBound(i); bound != 0 {
				fmt.Fprintf(&b, "varve_step_seconds_bucket{operation=%q,step=%q,le=\"%g\"} %d\n", t.Verb, t.Step, bound.Seconds(), sum)
			}
		}
		fmt.Fprintf(&b, "varve_step_seconds_bucket{operation=%q,step=%q,le=\"+Inf\"} %d\n", t.Verb, t.Step, sum)
		fmt.Fprintf(&b, "varve_step_seconds_sum{operation=%q,step=%q} %g\n", t.Verb, t.Step, t.Sum.Seconds())
		fmt.Fprintf(&b, "varve_step_seconds_count{operation=%q,step=%q} %d\n", t.Verb, t.Step, sum)
	}
	images.WriteMetrics(&b, s.images)
	return b.String()
}
