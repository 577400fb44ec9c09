package registry

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"sync"
	"testing"

	"github.com/varve-cri/varve/imagestore/reference"
)

// network answers requests by the handler of their host, in this process and without
// a buffer. In a bubble of testing/synctest it has no other time than the bubble's, so
// that who is slow there is slow by what the test says, and never by the machine.
type network struct {
	hosts map[string]http.Handler
	busy  sync.WaitGroup // handlers
}

// RoundTrip implements http.RoundTripper.
func (n *network) RoundTrip(q *http.Request) (*http.Response, error) {
	out, in := io.Pipe()
	a := &answering{header: http.Header{}, body: in, begun: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.WithoutCancel(q.Context()))
	// The client's side ends first: what the handler does then is not seen any more.
	end := func(err error) { _ = out.CloseWithError(err); cancel() }
	n.busy.Go(func() {
		defer func() {
			switch p := recover(); p {
			case nil:
			case http.ErrAbortHandler:
				_ = in.CloseWithError(io.ErrUnexpectedEOF)
			default:
				panic(p)
			}
			a.WriteHeader(http.StatusOK)
			_ = in.Close()
		}()
		n.hosts[q.URL.Host].ServeHTTP(a, q.Clone(ctx))
	})
	stop := context.AfterFunc(q.Context(), func() { end(context.Cause(q.Context())) })
	select {
	case <-a.begun:
	case <-q.Context().Done():
		return nil, context.Cause(q.Context())
	}
	resp := &http.Response{
		Status: strconv.Itoa(a.status) + " " + http.StatusText(a.status), StatusCode: a.status,
		Header: a.sent, ContentLength: -1, Request: q,
		Body: &leaving{out, func() { stop(); end(nil) }},
	}
	if size, err := strconv.ParseInt(a.sent.Get("Content-Length"), 10, 64); err == nil {
		resp.ContentLength = size
	}
	return resp, nil
}

// answering is a handler's side of an answer.
type answering struct {
	header, sent http.Header
	status       int
	body         *io.PipeWriter
	once         sync.Once
	begun        chan struct{} // closed when status and sent are set
}

func (a *answering) Header() http.Header { return a.header }

func (a *answering) WriteHeader(status int) {
	a.once.Do(func() {
		a.status, a.sent = status, a.header.Clone()
		close(a.begun)
	})
}

func (a *answering) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(p)
}

// FlushError is for http.ResponseController: there is nothing to flush.
func (a *answering) FlushError() error { a.WriteHeader(http.StatusOK); return nil }

// leaving is a body whose end is that of the request.
type leaving struct {
	io.Reader
	leave func()
}

func (l *leaving) Close() error { l.leave(); return nil }

// inBubble gives a repository that is asked for at these hosts, in this order.
func inBubble(t *testing.T, limits Limits, handlers ...http.Handler) *Repository {
	t.Helper()
	n, rule := &network{hosts: map[string]http.Handler{}}, Rule{}
	t.Cleanup(n.busy.Wait) // a bubble ends with its goroutines
	for i, h := range handlers {
		host := "host" + strconv.Itoa(i) + ".test"
		n.hosts[host] = h
		rule.Endpoints = append(rule.Endpoints, Endpoint{URL: "http://" + host})
	}
	c, err := New(Config{Rules: Rules{"*": rule}, Limits: limits, Transport: n})
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.Repository(reference.Reference{Domain: "r.example", Path: "a/b"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
