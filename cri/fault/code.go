package fault

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	crierrors "k8s.io/cri-api/pkg/errors"

	"github.com/varve-cri/varve/cri/record"
	imagefault "github.com/varve-cri/varve/imagestore/fault"
)

// pullCodes are the codes of the kinds of pull errors. The kubelet takes the
// code off an Unknown error and only then looks for its words at the start of
// the message, so that a kind with a prefix must be Unknown.
var pullCodes = map[imagefault.Kind]struct {
	code   codes.Code
	prefix error
}{
	imagefault.Unauthorized: {codes.Unauthenticated, nil},
	imagefault.NotFound:     {codes.NotFound, nil},
	imagefault.RateLimited:  {codes.ResourceExhausted, nil},
	imagefault.Unavailable:  {codes.Unknown, crierrors.ErrRegistryUnavailable},
	imagefault.Digest:       {codes.DataLoss, nil},
	imagefault.Invalid:      {codes.FailedPrecondition, nil},
	imagefault.Platform:     {codes.FailedPrecondition, nil},
	imagefault.Artifact:     {codes.InvalidArgument, nil},
	imagefault.NoSpace:      {codes.ResourceExhausted, nil},
	imagefault.Canceled:     {codes.Canceled, nil},
	imagefault.Internal:     {codes.Internal, nil},
}

// Code returns the gRPC code of an error by the kinds that are in its chain,
// and whether any was. An error that has a code already (GRPCStatus) keeps it.
func Code(err error) (codes.Code, bool) {
	var (
		bad     *InvalidError
		missing *NotFoundError
		state   *PreconditionError
		never   *UnimplementedError
		event   *record.StateError
		pull    *imagefault.Error
		coded   interface{ GRPCStatus() *status.Status }
	)
	switch {
	case err == nil:
		return codes.OK, true
	case errors.As(err, &bad):
		return codes.InvalidArgument, true
	case errors.As(err, &missing):
		return codes.NotFound, true
	case errors.As(err, &state), errors.As(err, &event):
		return codes.FailedPrecondition, true
	case errors.As(err, &never):
		return codes.Unimplemented, true
	case errors.As(err, &pull):
		// Its kind comes before what is below it: a registry's time-out is not
		// the request's.
		if pull.Kind == imagefault.Canceled && errors.Is(err, context.DeadlineExceeded) {
			return codes.DeadlineExceeded, true
		}
		c, ok := pullCodes[pull.Kind]
		if !ok {
			return codes.Unknown, true
		}
		return c.code, true
	case errors.Is(err, context.DeadlineExceeded):
		return codes.DeadlineExceeded, true
	case errors.Is(err, context.Canceled):
		return codes.Canceled, true
	case errors.As(err, &coded):
		return coded.GRPCStatus().Code(), true
	}
	return codes.Unknown, false
}

// maxMessage bounds an error's text: it travels in a header, and what a request
// holds, and a message shows, may have no end.
const maxMessage = 4 << 10

// Message returns the text of an error as the kubelet reads it: a word that it
// looks for comes first, however deep in the chain the reason for it is.
func Message(err error) string {
	text := err.Error()
	if len(text) > maxMessage {
		text = fmt.Sprintf("%s... (%d bytes)", strings.ToValidUTF8(text[:maxMessage], ""), len(text))
	}
	prefix := ""
	var pull *imagefault.Error
	var never *UnimplementedError
	var volume *VolumeError
	switch {
	case errors.As(err, &volume):
		prefix = crierrors.ErrImageVolumeMountFailed.Error()
	case errors.As(err, &pull):
		if p := pullCodes[pull.Kind].prefix; p != nil {
			prefix = p.Error()
		}
	case errors.As(err, &never):
		prefix = never.Prefix
	}
	if prefix == "" || strings.HasPrefix(text, prefix) {
		return text
	}
	return prefix + ": " + text
}

// Status turns an error into what goes over the wire. It is the one place
// where that is decided.
func Status(err error) error {
	if err == nil {
		return nil
	}
	code, _ := Code(err)
	return status.Error(code, Message(err))
}
