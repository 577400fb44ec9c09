package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/varve-cri/varve/imagestore/fault"
)

// request is one question to whatever host answers it.
type request struct {
	step    string // for messages
	method  string
	what    string // "manifests" or "blobs"
	target  string
	header  http.Header
	resolve bool // the target is a tag, so the host must be trusted to say what it is
	ranged  bool // an answer that is not the range is of no use
}

// transient marks an error that may go away, and after how long the host said so.
type transient struct {
	err   error
	after time.Duration
}

func (t *transient) Error() string { return t.err.Error() }
func (t *transient) Unwrap() error { return t.err }

// host is one place that serves the repository.
type host struct {
	base          *url.URL // the root of its API
	namespace     string   // for ?ns=
	pull, resolve bool
	client        *auth.Client

	// strikes count what went wrong during this pull: who has more is asked later.
	strikes atomic.Int32
	// spent is the time that its failures have cost this pull, in nanoseconds.
	spent atomic.Int64
	// plain tells that it does not answer ranges as it should.
	plain atomic.Bool
	// barred tells that it sent bytes that are not what their digest says.
	barred atomic.Bool
}

// send asks one host once. The error is a *fault.Error, inside a *transient when
// another try is worth it.
func (h *host) send(ctx context.Context, path string, q request) (*http.Response, error) {
	wantsRange := q.header.Get("Range") != ""
	if wantsRange && h.plain.Load() {
		if q.ranged {
			return nil, h.fault(fault.Unavailable, q, errNoRanges)
		}
		q.header, wantsRange = nil, false
	}
	u := *h.base
	u.Path += "/" + path + "/" + q.what + "/" + q.target
	if h.namespace != "" {
		u.RawQuery = url.Values{"ns": {h.namespace}}.Encode()
	}
	ctx = auth.WithScopesForHost(ctx, u.Host, auth.ScopeRepository(path, auth.ActionPull))
	req, err := http.NewRequestWithContext(ctx, q.method, u.String(), nil)
	if err != nil {
		return nil, h.fault(fault.Invalid, q, err)
	}
	for key, values := range q.header {
		req.Header[key] = values
	}
	resp, err := h.client.Do(req)
	if err != nil {
		return nil, h.failed(ctx, q, err)
	}
	if resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusPartialContent {
		return resp, nil
	}
	defer resp.Body.Close()
	if wantsRange && refusesRange[resp.StatusCode] {
		h.plain.Store(true)
		return h.send(ctx, path, q)
	}
	return nil, h.refused(q, resp)
}

// refusesRange are the answers of hosts that may give the same without a range.
var refusesRange = map[int]bool{
	http.StatusBadRequest: true, http.StatusForbidden: true, http.StatusRequestedRangeNotSatisfiable: true, http.StatusNotImplemented: true,
}

func (h *host) fault(kind fault.Kind, q request, err error) *fault.Error {
	return &fault.Error{Kind: kind, Host: h.base.Host, Step: q.step, Err: err}
}

// failed sorts the errors that come without an answer.
func (h *host) failed(ctx context.Context, q request, err error) error {
	if ctx.Err() != nil {
		return h.fault(fault.Canceled, q, context.Cause(ctx))
	}
	// The URL of a redirect may carry a signature, so messages leave URLs out.
	for u := (*url.Error)(nil); errors.As(err, &u); {
		err = u.Err
	}
	if known := (*fault.Error)(nil); errors.As(err, &known) {
		return h.fault(known.Kind, q, known.Err) // from finding the credentials
	}
	if denied := (*errcode.ErrorResponse)(nil); errors.As(err, &denied) {
		return h.status(q, denied.StatusCode, "token server: "+http.StatusText(denied.StatusCode), "")
	}
	if errors.Is(err, auth.ErrBasicCredentialNotFound) || strings.Contains(err.Error(), "missing username or password") || strings.Contains(err.Error(), "bearer realm") {
		return h.fault(fault.Unauthorized, q, err)
	}
	// The token client's own words, with a URL before them.
	if _, cause, ok := strings.Cut(err.Error(), "failed to decode response: "); ok {
		err = fmt.Errorf("the token server's answer: %s", cause)
	}
	return &transient{err: h.fault(fault.Unavailable, q, err)}
}

// refused sorts the answers that are no success.
func (h *host) refused(q request, resp *http.Response) error {
	text := resp.Status
	if said := readMessage(resp.Body); said != "" {
		text += ": " + said
	}
	return h.status(q, resp.StatusCode, text, resp.Header.Get("Retry-After"))
}

func (h *host) status(q request, code int, text, retryAfter string) error {
	err := errors.New(text)
	switch {
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return h.fault(fault.Unauthorized, q, err)
	case code == http.StatusMethodNotAllowed, code == http.StatusBadRequest:
		return h.fault(fault.Invalid, q, err)
	case code == http.StatusNotFound:
		return h.fault(fault.NotFound, q, err)
	case code == http.StatusTooManyRequests:
		return &transient{err: h.fault(fault.RateLimited, q, err), after: parseRetryAfter(retryAfter)}
	case code >= 500, code == http.StatusRequestTimeout:
		return &transient{err: h.fault(fault.Unavailable, q, err), after: parseRetryAfter(retryAfter)}
	}
	return h.fault(fault.Unavailable, q, err)
}

// readMessage gives the first error message of a registry's JSON answer.
func readMessage(body io.Reader) string {
	var answer struct {
		Errors []struct{ Code, Message string } `json:"errors"`
	}
	err := json.NewDecoder(io.LimitReader(body, 8<<10)).Decode(&answer)
	if err != nil || len(answer.Errors) == 0 {
		return ""
	}
	return fmt.Sprintf("%.200s %.200q", answer.Errors[0].Code, answer.Errors[0].Message)
}

// parseRetryAfter reads both forms of the header; 0 when there is none.
func parseRetryAfter(s string) time.Duration {
	if n, err := strconv.Atoi(s); err == nil && n >= 0 && n < 1<<31 {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(s); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}
