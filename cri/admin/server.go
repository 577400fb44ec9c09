package admin

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"time"

	"k8s.io/klog/v2"

	"github.com/varve-cri/varve/cri/admin/wire"
	"github.com/varve-cri/varve/cri/fault"
	"github.com/varve-cri/varve/cri/step"
	"github.com/varve-cri/varve/imagestore"
)

// The bounds of one client.
const (
	maxHeader    = 16 << 10
	maxBody      = 64 << 10
	headerTime   = 10 * time.Second
	bodyTime     = 10 * time.Second
	writeTime    = 30 * time.Second
	idleTime     = time.Minute
	apiVersion   = "v1"
	contentType  = "application/json"
	contentLines = "application/x-ndjson"
)

// Options is what a Server stands on.
type Options struct {
	Store   *imagestore.Store
	Live    func() []step.Live // the operations that run
	Metrics http.Handler       // answers Prometheus; nil has none
	Version string             // of varved
	// Reload reads the configuration again, and returns which fields have changed and
	// which need a restart to change.
	Reload func() (changed, restart []string, err error)
}

// Server answers the operator. Make it with New.
type Server struct {
	Options
	http   *http.Server
	write  time.Duration               // what one line may take; who does not read it by then is cut off
	routes map[string]map[string]route // by path and method
}

// route is one method of a path: the query that it takes, and what answers. An
// error is told to the client, unless the answer has begun.
type route struct {
	query []string
	serve func(http.ResponseWriter, *http.Request) error
}

// New makes a server, which serves nothing yet.
func New(o Options) *Server {
	s := &Server{Options: o, write: writeTime}
	s.routes = map[string]map[string]route{
		"/v1/version":    {http.MethodGet: {nil, s.getVersion}},
		"/v1/pulls":      {http.MethodGet: {[]string{"watch"}, s.getPulls}, http.MethodPost: {nil, s.postPull}},
		"/v1/images":     {http.MethodGet: {[]string{"ref"}, s.getImages}},
		"/v1/layers":     {http.MethodGet: {[]string{"ref"}, s.getLayers}},
		"/v1/history":    {http.MethodGet: {[]string{"ref"}, s.getHistory}},
		"/v1/store":      {http.MethodGet: {nil, s.getStore}},
		"/v1/operations": {http.MethodGet: {nil, s.getOperations}},
	}
	if o.Reload != nil {
		s.routes["/v1/reload"] = map[string]route{http.MethodPost: {nil, s.postReload}}
	}
	if o.Metrics != nil {
		s.routes["/metrics"] = map[string]route{http.MethodGet: {nil, func(w http.ResponseWriter, r *http.Request) error {
			o.Metrics.ServeHTTP(w, r)
			return nil
		}}}
	}
	s.http = &http.Server{
		Handler: s, ReadHeaderTimeout: headerTime, IdleTimeout: idleTime, MaxHeaderBytes: maxHeader,
		ConnContext: withPeer, ErrorLog: klog.NewStandardLogger("INFO"),
	}
	return s
}

// Serve answers on the listener until Close.
func (s *Server) Serve(l net.Listener) error {
	if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Close ends all connections and what they asked for.
func (s *Server) Close() error { return s.http.Close() }

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer := &answer{ResponseWriter: w}
	err := s.answer(answer, r)
	if err == nil {
		return
	}
	if answer.begun {
		klog.V(2).InfoS("Admin request ended early", "method", r.Method, "path", r.URL.Path, "err", err)
		return
	}
	status, code := classify(err)
	klog.V(2).InfoS("Admin request refused", "method", r.Method, "path", r.URL.Path, "code", code, "err", err)
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(wire.Error{Error: err.Error(), Code: code.String()})
}

func (s *Server) answer(w http.ResponseWriter, r *http.Request) error {
	if err := admit(r.Context()); err != nil {
		return err
	}
	if rest, ok := strings.CutPrefix(r.URL.Path, profiles); ok {
		return s.getProfile(w, r, rest)
	}
	methods, ok := s.routes[r.URL.Path]
	if !ok {
		return &fault.NotFoundError{Kind: "path", ID: r.URL.Path}
	}
	route, ok := methods[r.Method]
	if !ok {
		return &methodError{r.Method, r.URL.Path}
	}
	if err := checkQuery(r.URL.RawQuery, route.query); err != nil {
		return err
	}
	klog.V(5).InfoS("Admin request", "method", r.Method, "path", r.URL.Path)
	return route.serve(w, r)
}

// checkQuery refuses what the route does not know: a word that is misspelt must
// not be ignored.
func checkQuery(raw string, known []string) error {
	q, err := url.ParseQuery(raw)
	if err != nil {
		return &fault.InvalidError{Field: "query", Problem: err.Error()}
	}
	allowed := map[string]bool{}
	for _, k := range known {
		allowed[k] = true
	}
	for key, values := range q {
		if !allowed[key] {
			return &fault.InvalidError{Field: "query." + key, Problem: "is not known"}
		}
		if len(values) != 1 {
			return &fault.InvalidError{Field: "query." + key, Problem: "is there more than once"}
		}
	}
	return nil
}

// answer notes whether anything was written.
type answer struct {
	http.ResponseWriter
	begun bool
}

func (a *answer) WriteHeader(status int) {
	a.begun = true
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(b []byte) (int, error) {
	a.begun = true
	return a.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// reply answers with one document.
func (s *Server) reply(w http.ResponseWriter, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(s.write)); err != nil {
		return err
	}
	w.Header().Set("Content-Type", contentType)
	_, err = w.Write(append(b, '\n'))
	return err
}

// lines answers with a document in each line, each sent at once.
type lines struct {
	w       http.ResponseWriter
	control *http.ResponseController
	time    time.Duration // for one line
}

func (s *Server) lines(w http.ResponseWriter) (*lines, error) {
	l := &lines{w, http.NewResponseController(w), s.write}
	w.Header().Set("Content-Type", contentLines)
	w.WriteHeader(http.StatusOK)
	return l, l.control.Flush()
}

func (l *lines) send(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := l.control.SetWriteDeadline(time.Now().Add(l.time)); err != nil {
		return err
	}
	if _, err := l.w.Write(append(b, '\n')); err != nil {
		return err
	}
	return l.control.Flush()
}

func (s *Server) getVersion(w http.ResponseWriter, _ *http.Request) error {
	return s.reply(w, wire.Version{Version: s.Version, Go: runtime.Version(), APIs: []string{apiVersion}})
}

// peerKey is where a connection's context has its peer.
type peerKey struct{}

func withPeer(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, peerKey{}, peerOf(c))
}
