package testregistry

import (
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
)

// Registry is one server. Its zero value is not usable; see Listen.
type Registry struct {
	Host   string // host:port, as an image name's registry part
	server *http.Server

	mu       sync.Mutex
	faults   map[string]Fault // by repository
	requests []Request
	left     []departure
}

// Request is one request that the server saw.
type Request struct {
	Method, Path  string
	Authorization string
	Range         string
}

// departure is a client's end of a connection.
type departure struct {
	path string // what it had asked for
	at   time.Time
}

// Listen serves a new, empty registry on address; "127.0.0.1:0" picks a port.
func Listen(address string) (*Registry, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	r := &Registry{Host: listener.Addr().String(), faults: map[string]Fault{}}
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	r.server = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.serve(w, req, inner)
	})}
	go r.server.Serve(listener) //nolint:errcheck // ends with Close
	return r, nil
}

// URL is the registry's address as --mirror takes it.
func (r *Registry) URL() string { return "http://" + r.Host }

// Close ends the server and cuts its connections.
func (r *Registry) Close() error { return r.server.Close() }

// Left is when clients closed connections over which stalled blobs of the
// repository came.
func (r *Registry) Left(repository string) []time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found []time.Time
	for _, d := range r.left {
		if strings.HasPrefix(d.path, "/v2/"+repository+"/") {
			found = append(found, d.at)
		}
	}
	return found
}

// Requests is what clients asked of the repository so far.
func (r *Registry) Requests(repository string) []Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found []Request
	for _, q := range r.requests {
		if strings.HasPrefix(q.Path, "/v2/"+repository+"/") {
			found = append(found, q)
		}
	}
	return found
}
