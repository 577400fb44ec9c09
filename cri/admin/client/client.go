// Package client asks varved over its admin socket. It is small, so that a
// program which links it stays small: no gRPC, and nothing of the daemon but the
// messages.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/cri/admin/wire"
	"github.com/varve-cri/varve/imagestore/progress"
)

// maxAnswer bounds an answer that is one document.
const maxAnswer = 64 << 20

// Client asks one daemon. Make it with New.
type Client struct {
	socket string
	http   *http.Client
}

// Error is an answer that is no success.
type Error struct {
	Status int    // of HTTP
	Code   string // a gRPC code's name
	Text   string
}

// Error is the daemon's own text.
func (e *Error) Error() string { return e.Text }

// DialError is for a socket that no one serves.
type DialError struct {
	Socket string
	Err    error
}

// Error names the socket.
func (e *DialError) Error() string { return "socket " + e.Socket + ": " + e.Err.Error() }

// Unwrap gives the cause.
func (e *DialError) Unwrap() error { return e.Err }

// New gives a client of the socket at a path. It connects when it is asked.
func New(socket string) *Client {
	c := &Client{socket: socket}
	c.http = &http.Client{Transport: &http.Transport{DialContext: c.dial, DisableCompression: true}}
	return c
}

// dial reaches the socket by its directory's descriptor, because a path may be
// longer than the 107 bytes that fit into an address.
func (c *Client) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	dir, name := filepath.Split(c.socket)
	if dir == "" {
		dir = "."
	}
	d, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &DialError{c.socket, err}
	}
	defer unix.Close(d)
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", fmt.Sprintf("/proc/self/fd/%d/%s", d, name))
	if err != nil {
		if errno := unix.Errno(0); errors.As(err, &errno) {
			err = errno // the address in the error would be the descriptor's
		}
		return nil, &DialError{c.socket, err}
	}
	return conn, nil
}

// ask sends a request and gives the body of an answer that is a success.
func (c *Client) ask(ctx context.Context, method, path string, query url.Values, body any) (io.ReadCloser, error) {
	u := url.URL{Scheme: "http", Host: "varved", Path: path, RawQuery: query.Encode()}
	var content io.Reader = http.NoBody
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), content)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if dial := (*DialError)(nil); errors.As(err, &dial) {
			return nil, dial
		}
		return nil, &DialError{c.socket, err}
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	var said wire.Error
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&said); err != nil || said.Error == "" {
		said.Error = "the answer is " + resp.Status
	}
	return nil, &Error{Status: resp.StatusCode, Code: said.Code, Text: said.Error}
}

// get asks for one document.
func (c *Client) get(ctx context.Context, path, ref string, into any) error {
	query := url.Values{}
	if ref != "" {
		query.Set("ref", ref)
	}
	body, err := c.ask(ctx, http.MethodGet, path, query, nil)
	if err != nil {
		return err
	}
	defer body.Close()
	if err := json.NewDecoder(io.LimitReader(body, maxAnswer)).Decode(into); err != nil {
		return fmt.Errorf("answer to %s: %w", path, err)
	}
	return nil
}

// Version asks which varved it is.
func (c *Client) Version(ctx context.Context) (v wire.Version, err error) {
	err = c.get(ctx, "/v1/version", "", &v)
	return v, err
}

// Reload makes the daemon read its configuration again.
func (c *Client) Reload(ctx context.Context) (v wire.Reload, err error) {
	body, err := c.ask(ctx, http.MethodPost, "/v1/reload", nil, nil)
	if err != nil {
		return v, err
	}
	defer body.Close()
	return v, json.NewDecoder(body).Decode(&v)
}

// Images lists the images, or the one that ref names.
func (c *Client) Images(ctx context.Context, ref string) ([]wire.Image, error) {
	var v wire.Images
	err := c.get(ctx, "/v1/images", ref, &v)
	return v.Images, err
}

// Layers lists the layers, parents before their children, or those of an image.
func (c *Client) Layers(ctx context.Context, ref string) ([]wire.Layer, error) {
	var v wire.Layers
	err := c.get(ctx, "/v1/layers", ref, &v)
	return v.Layers, err
}

// History tells how an image was made.
func (c *Client) History(ctx context.Context, ref string) (v wire.History, err error) {
	err = c.get(ctx, "/v1/history", ref, &v)
	return v, err
}

// Store tells how the image store is.
func (c *Client) Store(ctx context.Context) (v wire.Store, err error) {
	err = c.get(ctx, "/v1/store", "", &v)
	return v, err
}

// Operations lists what runs.
func (c *Client) Operations(ctx context.Context) ([]wire.Operation, error) {
	var v wire.Operations
	err := c.get(ctx, "/v1/operations", "", &v)
	return v.Operations, err
}

// Pulls lists the pulls that run and the last that ended.
func (c *Client) Pulls(ctx context.Context) ([]progress.State, error) {
	var v wire.Pulls
	err := c.get(ctx, "/v1/pulls", "", &v)
	return v.Pulls, err
}

// WatchPulls calls each with the pulls that run and with every change of one,
// until ctx ends, the daemon ends, or each gives an error.
func (c *Client) WatchPulls(ctx context.Context, each func(progress.State) error) error {
	body, err := c.ask(ctx, http.MethodGet, "/v1/pulls", url.Values{"watch": {"1"}}, nil)
	if err != nil {
		return err
	}
	defer body.Close()
	_, err = follow(ctx, body, each)
	return err
}

// Pull pulls an image, calls each with its progress, and gives the last state. A
// pull that failed is no error of this call: see its stage. When ctx ends, the
// daemon ends the pull.
func (c *Client) Pull(ctx context.Context, q wire.PullRequest, each func(progress.State) error) (progress.State, error) {
	body, err := c.ask(ctx, http.MethodPost, "/v1/pulls", nil, q)
	if err != nil {
		return progress.State{}, err
	}
	defer body.Close()
	last, err := follow(ctx, body, each)
	if err == nil && !last.Stage.Ended() {
		err = fmt.Errorf("socket %s: the daemon ended before the pull did", c.socket)
	}
	return last, err
}

func follow(ctx context.Context, body io.Reader, each func(progress.State) error) (last progress.State, err error) {
	for decoder := json.NewDecoder(body); ; {
		var state progress.State
		if err := decoder.Decode(&state); err != nil {
			if ctx.Err() != nil {
				return last, context.Cause(ctx)
			}
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				return last, nil
			}
			return last, fmt.Errorf("progress of a pull: %w", err)
		}
		last = state
		if err := each(state); err != nil {
			return last, err
		}
	}
}
