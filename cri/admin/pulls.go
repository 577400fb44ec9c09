package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"k8s.io/klog/v2"

	"github.com/varve-cri/varve/cri/admin/wire"
	"github.com/varve-cri/varve/cri/fault"
	"github.com/varve-cri/varve/imagestore"
	"github.com/varve-cri/varve/imagestore/progress"
	"github.com/varve-cri/varve/imagestore/reference"
)

func (s *Server) getPulls(w http.ResponseWriter, r *http.Request) error {
	switch r.URL.Query().Get("watch") {
	case "", "0":
		return s.reply(w, wire.Pulls{Pulls: s.Store.Pulls().List()})
	case "1":
		watch := s.Store.Pulls().Watch()
		defer watch.Close()
		return s.follow(r.Context(), w, watch)
	}
	return &fault.InvalidError{Field: "query.watch", Problem: "is neither 0 nor 1"}
}

// follow sends what the watch tells, until its end or the client's.
func (s *Server) follow(ctx context.Context, w http.ResponseWriter, watch *progress.Watch) error {
	out, err := s.lines(w)
	if err != nil {
		return err
	}
	for {
		states, err := watch.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, state := range states {
			if err := out.send(state); err != nil {
				return err
			}
		}
	}
}

// postPull pulls an image. It goes on as long as the client listens.
func (s *Server) postPull(w http.ResponseWriter, r *http.Request) error {
	var q wire.PullRequest
	if err := readBody(w, r, &q); err != nil {
		return err
	}
	opt, err := options(q)
	if err != nil {
		return err
	}
	opt.Operation = s.Store.Begin(q.Image, opt.Platform)
	watch := opt.Operation.Watch()
	defer watch.Close()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		begin := time.Now()
		if img, err := s.Store.Pull(ctx, q.Image, opt); err == nil { // the watch tells the error
			klog.InfoS("Image pulled", "image", q.Image, "id", img.ID, "size", img.Size, "took", time.Since(begin).Round(time.Millisecond), "by", "admin")
		}
	}()
	err = s.follow(ctx, w, watch)
	cancel()
	<-ended
	return err
}

// readBody reads one document, strictly, to its end: only then is the client's
// going away seen.
func readBody(w http.ResponseWriter, r *http.Request, into any) error {
	control := http.NewResponseController(w)
	if err := control.SetReadDeadline(time.Now().Add(bodyTime)); err != nil {
		return err
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return err
	}
	if err := control.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	return decode(body, into)
}

// decode reads one document that has nothing unknown in it, and nothing after it.
func decode(body []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return &fault.InvalidError{Field: "body", Problem: err.Error()}
	}
	if _, err := decoder.Token(); err != io.EOF {
		return &fault.InvalidError{Field: "body", Problem: "goes on after its end"}
	}
	return nil
}

// options checks a request and gives its wishes.
func options(q wire.PullRequest) (opt imagestore.PullOptions, err error) {
	if q.Image == "" {
		return opt, &fault.InvalidError{Field: "image", Problem: "is empty"}
	}
	if _, err := reference.Parse(q.Image); err != nil {
		return opt, &fault.InvalidError{Field: "image", Problem: err.Error()}
	}
	if q.Platform != "" {
		parts := strings.Split(q.Platform, "/")
		if len(parts) < 2 || len(parts) > 3 || parts[0] == "" || parts[1] == "" {
			return opt, &fault.InvalidError{Field: "platform", Problem: "is not os/arch[/variant]"}
		}
		parts = append(parts, "")
		opt.Platform = &ocispec.Platform{OS: parts[0], Architecture: parts[1], Variant: parts[2]}
	}
	if a := q.Auth; a != nil {
		opt.Auth = &imagestore.Auth{
			Username: a.Username, Password: a.Password, Encoded: a.Auth, IdentityToken: a.IdentityToken, RegistryToken: a.RegistryToken,
		}
	}
	return opt, nil
}
