package admin

import (
	"net/http"
	"net/http/pprof"

	"github.com/varve-cri/varve/cri/fault"
)

// profiles is where the Go runtime's own profiles are.
const profiles = "/debug/pprof/"

// getProfile answers as net/http/pprof does. That package also puts itself on the
// default mux when it is linked, which nothing in the daemon serves.
func (s *Server) getProfile(w http.ResponseWriter, r *http.Request, name string) error {
	if r.Method != http.MethodGet && r.Method != http.MethodPost { // symbol takes its addresses by POST
		return &methodError{r.Method, r.URL.Path}
	}
	switch name {
	case "":
		pprof.Index(w, r)
	case "cmdline":
		pprof.Cmdline(w, r)
	case "profile":
		pprof.Profile(w, r)
	case "symbol":
		pprof.Symbol(w, r)
	case "trace":
		pprof.Trace(w, r)
	case "allocs", "block", "goroutine", "goroutineleak", "heap", "mutex", "threadcreate":
		pprof.Handler(name).ServeHTTP(w, r)
	default:
		return &fault.NotFoundError{Kind: "profile", ID: name}
	}
	return nil
}
