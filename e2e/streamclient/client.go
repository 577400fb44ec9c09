// Package streamclient is the client of exec, attach and port-forward as
// kubectl and crictl have it: that of k8s.io/client-go, over both transports.
package streamclient

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"

	"k8s.io/apimachinery/pkg/util/httpstream" //nolint:staticcheck // the types of client-go's functions
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
)

// Transport is how a client speaks.
type Transport string

// The two transports.
const (
	SPDY      Transport = "SPDY"
	WebSocket Transport = "WebSocket"
)

// All are both.
var All = []Transport{SPDY, WebSocket}

// config takes any certificate. The connections end with the context, as they
// do when a client is killed: without farewells.
func config(ctx context.Context) *rest.Config {
	return &rest.Config{
		TLSClientConfig: rest.TLSClientConfig{Insecure: true},
		Dial: func(dialing context.Context, network, address string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(dialing, network, address)
			if err == nil {
				context.AfterFunc(ctx, func() { _ = c.Close() })
			}
			return c, err
		},
	}
}

// Run joins streams at the URL until they end. The error of a command that ended
// with another code than 0 is an exec.CodeExitError of client-go.
func (t Transport) Run(ctx context.Context, address string, o remotecommand.StreamOptions) error {
	u, err := url.Parse(address)
	if err != nil {
		return err
	}
	var e remotecommand.Executor
	if t == SPDY {
		e, err = remotecommand.NewSPDYExecutor(config(ctx), http.MethodPost, u)
	} else {
		e, err = remotecommand.NewWebSocketExecutor(config(ctx), http.MethodGet, address)
	}
	if err != nil {
		return err
	}
	return e.StreamWithContext(ctx, o)
}

// Forward listens on a port of this machine for each of the pod's ports until
// the context ends, and returns the local ports in the same order.
func (t Transport) Forward(ctx context.Context, address string, ports ...int) ([]int, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	var pairs []string
	for _, p := range ports {
		pairs = append(pairs, fmt.Sprintf("0:%d", p))
	}
	ready, failed := make(chan struct{}), make(chan error, 1)
	f, err := t.forwarder(ctx, u, pairs, ready)
	if err != nil {
		return nil, err
	}
	go func() { failed <- f.ForwardPorts() }()
	select {
	case <-ready:
	case err := <-failed:
		return nil, fmt.Errorf("forward: %w", err)
	}
	found, err := f.GetPorts()
	var local []int
	for _, p := range found {
		local = append(local, int(p.Local))
	}
	return local, err
}

func (t Transport) forwarder(ctx context.Context, u *url.URL, pairs []string, ready chan struct{}) (*portforward.PortForwarder, error) {
	dialer, err := t.dialer(ctx, u)
	if err != nil {
		return nil, err
	}
	return portforward.NewOnAddresses(dialer, []string{"127.0.0.1"}, pairs, ctx.Done(), ready, io.Discard, io.Discard)
}

func (t Transport) dialer(ctx context.Context, u *url.URL) (httpstream.Dialer, error) {
	if t == WebSocket {
		return portforward.NewSPDYOverWebsocketDialer(u, config(ctx))
	}
	transport, upgrader, err := spdy.RoundTripperFor(config(ctx))
	if err != nil {
		return nil, err
	}
	return spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, u), nil
}

// Connection is a client's connection for forwarded ports.
type Connection struct{ httpstream.Connection }

// Dial makes one; it ends with the context.
func (t Transport) Dial(ctx context.Context, address string) (*Connection, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	dialer, err := t.dialer(ctx, u)
	if err != nil {
		return nil, err
	}
	c, _, err := dialer.Dial(portforward.PortForwardProtocolV1Name)
	return &Connection{c}, err
}

// Open opens the two streams of one connection to a port; n tells it from others.
func (c *Connection) Open(n, port int) (data, problem httpstream.Stream, err error) {
	header := http.Header{}
	header.Set("streamType", "error")
	header.Set("port", strconv.Itoa(port))
	header.Set("requestID", strconv.Itoa(n))
	if problem, err = c.CreateStream(header); err != nil {
		return nil, nil, err
	}
	_ = problem.Close() // nothing is said in this direction
	header.Set("streamType", "data")
	data, err = c.CreateStream(header)
	return data, problem, err
}
