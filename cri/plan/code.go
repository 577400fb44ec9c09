package plan

import (
	"context"
	"errors"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	crierrors "k8s.io/cri-api/pkg/errors"

	"github.com/varve-cri/varve/cri/record"
)

// PullFailure is what an image store's pull error says of itself, in the words
// of pullCodes. It is an interface so that planning does not depend on the
// store.
type PullFailure interface {
	error
	PullFailure() string
}

// pullCodes are the codes of the kinds of pull errors. The kubelet takes the
// code off an Unknown error and only then looks for its words at the start of
// the message, so that those with a prefix must be Unknown.
var pullCodes = map[string]struct {
	code   codes.Code
	prefix error
}{
	"unauthorized": {codes.Unauthenticated, nil},
	"notfound":     {codes.NotFound, nil},
	"ratelimited":  {codes.ResourceExhausted, nil},
	"unavailable":  {codes.Unknown, crierrors.ErrRegistryUnavailable},
	"signature":    {codes.Unknown, crierrors.ErrSignatureValidationFailed},
	"digest":       {codes.DataLoss, nil},
	"invalid":      {codes.FailedPrecondition, nil},
	"platform":     {codes.FailedPrecondition, nil},
	"nospace":      {codes.ResourceExhausted, nil},
	"canceled":     {codes.Canceled, nil},
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
		pull    PullFailure
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
	// The end of the request before what it has led to: a pull that was
	// cancelled is a cancelled request.
	case errors.Is(err, context.DeadlineExceeded):
		return codes.DeadlineExceeded, true
	case errors.Is(err, context.Canceled):
		return codes.Canceled, true
	case errors.As(err, &pull):
		if c, ok := pullCodes[strings.ToLower(pull.PullFailure())]; ok {
			return c.code, true
		}
	case errors.As(err, &coded):
		return coded.GRPCStatus().Code(), true
	}
	return codes.Unknown, false
}

// Message returns the text of an error as the kubelet reads it: a word that it
// looks for comes first, however deep in the chain the reason for it is.
func Message(err error) string {
	text := err.Error()
	prefix := ""
	var pull PullFailure
	var never *UnimplementedError
	if errors.As(err, &pull) {
		// Not for a request that ended: that is not the registry's fault.
		if c := pullCodes[strings.ToLower(pull.PullFailure())]; c.prefix != nil && !ended(err) {
			prefix = c.prefix.Error()
		}
	} else if errors.As(err, &never) {
		prefix = never.Prefix
	}
	if prefix == "" || strings.HasPrefix(text, prefix) {
		return text
	}
	return prefix + ": " + text
}

func ended(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
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
