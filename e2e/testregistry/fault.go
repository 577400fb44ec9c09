package testregistry

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"
)

// Fault is what a repository does wrong. The zero value does nothing wrong.
type Fault struct {
	Status   int           // answer every request with it
	Header   http.Header   // sent with Status
	HangUp   bool          // close the connection without an answer
	Delay    time.Duration // wait before every answer
	Blobs    BlobFault     // what is wrong with every blob but the config
	User     string        // basic auth, or the token service's client
	Password string
	Token    bool // ask for a bearer token from this registry's own /token
}

// BlobFault is how a blob differs from what its digest says.
type BlobFault int

// The ways in which a blob can be wrong.
const (
	BlobWhole   BlobFault = iota
	BlobTorn              // half of the bytes, then the connection ends
	BlobAltered           // one byte is another
	BlobStalled           // half of the bytes, then nothing for a long time
	BlobSlow              // no more than slowRate, and the last quarter at an eighth of it
)

// slowRate is how many bytes a second of a slow blob come.
const slowRate = 8 << 20

const token = "testregistry-token"

// Fault sets what the repository does wrong from now on.
func (r *Registry) Fault(repository string, f Fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults[repository] = f
}

func (r *Registry) serve(w http.ResponseWriter, req *http.Request, inner http.Handler) {
	if req.Header.Get(pusherHeader) != "" {
		inner.ServeHTTP(w, req)
		return
	}
	if req.URL.Path == "/token" {
		r.serveToken(w, req)
		return
	}
	f := r.note(req)
	if f.HangUp {
		panic(http.ErrAbortHandler)
	}
	if f.Delay > 0 {
		select {
		case <-time.After(f.Delay):
		case <-req.Context().Done():
			return
		}
	}
	if f.Status != 0 {
		for name, values := range f.Header {
			w.Header()[name] = values
		}
		w.WriteHeader(f.Status)
		return
	}
	if !f.admits(w, req, r.URL()) {
		return
	}
	if f.Blobs != BlobWhole && strings.Contains(req.URL.Path, "/blobs/") && req.Method == http.MethodGet {
		serveWrongBlob(w, req, inner, f.Blobs)
		if f.Blobs == BlobStalled && req.Context().Err() != nil {
			r.mu.Lock()
			r.left = append(r.left, departure{req.URL.Path, time.Now()})
			r.mu.Unlock()
		}
		return
	}
	inner.ServeHTTP(w, req)
}

// note keeps the request and finds the fault of its repository.
func (r *Registry) note(req *http.Request) Fault {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests = append(r.requests, Request{req.Method, req.URL.Path, req.Header.Get("Authorization"), req.Header.Get("Range")})
	for repository, f := range r.faults {
		if strings.HasPrefix(req.URL.Path, "/v2/"+repository+"/") {
			return f
		}
	}
	return Fault{}
}

// admits checks credentials and answers 401 when they are wrong.
func (f Fault) admits(w http.ResponseWriter, req *http.Request, url string) bool {
	if f.User == "" {
		return true
	}
	if f.Token {
		if req.Header.Get("Authorization") == "Bearer "+token {
			return true
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="`+url+`/token",service="testregistry",scope="repository:x:pull"`)
	} else {
		if user, password, ok := req.BasicAuth(); ok && user == f.User && password == f.Password {
			return true
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="testregistry"`)
	}
	w.WriteHeader(http.StatusUnauthorized)
	return false
}

// serveToken gives the token to any client that a repository knows.
func (r *Registry) serveToken(w http.ResponseWriter, req *http.Request) {
	user, password, _ := req.BasicAuth()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.faults {
		if f.Token && f.User == user && f.Password == password {
			w.Header().Set("Content-Type", "application/json")
			w.Write([]byte(`{"token":"` + token + `","expires_in":300}`)) //nolint:errcheck // the client is gone
			return
		}
	}
	w.WriteHeader(http.StatusUnauthorized)
}

func serveWrongBlob(w http.ResponseWriter, req *http.Request, inner http.Handler, how BlobFault) {
	kept := httptest.NewRecorder()
	whole := req.Clone(req.Context())
	whole.Header.Del("Range")
	inner.ServeHTTP(kept, whole)
	body := kept.Body.Bytes()
	if bytes.HasPrefix(body, []byte("{")) { // the config, which stays as it is
		inner.ServeHTTP(w, req)
		return
	}
	w.Header().Set("Content-Length", kept.Header().Get("Content-Length"))
	switch how {
	case BlobTorn:
		w.Write(body[:len(body)/2]) //nolint:errcheck // the rest is torn off anyway
		panic(http.ErrAbortHandler)
	case BlobStalled:
		w.Write(body[:len(body)/2]) //nolint:errcheck // see above
		w.(http.Flusher).Flush()
		<-req.Context().Done()
	case BlobSlow:
		for whole := len(body); len(body) > 0 && req.Context().Err() == nil; {
			n := min(len(body), slowRate/50)
			if len(body) < whole/4 {
				n = min(len(body), slowRate/50/8)
			}
			w.Write(body[:n]) //nolint:errcheck // the context tells
			w.(http.Flusher).Flush()
			body = body[n:]
			time.Sleep(time.Second / 50)
		}
	default:
		body = bytes.Clone(body)
		body[len(body)/2] ^= 1
		w.Write(body) //nolint:errcheck // see above
	}
}
