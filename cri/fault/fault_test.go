package fault

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/varve-cri/varve/cri/record"
	"github.com/varve-cri/varve/cri/step"
	imagefault "github.com/varve-cri/varve/imagestore/fault"
)

func pull(kind imagefault.Kind, cause error) error {
	return &imagefault.Error{Kind: kind, Ref: "r/i:t", Step: "fetch manifest", Err: cause}
}

func TestStatus(t *testing.T) {
	inStep := func(err error) error {
		return &step.Error{Op: step.Op{Verb: "Create", Object: "container c"}, Step: "plan", Err: err}
	}
	plain := errors.New("x")
	for name, c := range map[string]struct {
		err  error
		code codes.Code
		text string
	}{
		"invalid":        {Invalid("config.hostname", "is odd"), codes.InvalidArgument, "config.hostname: is odd"},
		"in a step":      {inStep(Invalid("f", "p")), codes.InvalidArgument, "Create container c: plan: f: p"},
		"not found":      {fmt.Errorf("a: %w", &NotFoundError{"pod", "1"}), codes.NotFound, "a: pod 1 not found"},
		"state":          {(&record.Container{ID: "1", State: record.Exited}).Start(), codes.FailedPrecondition, "container 1 cannot be started while Exited"},
		"precondition":   {&PreconditionError{"container 1", "does not run"}, codes.FailedPrecondition, "container 1: does not run"},
		"unimplemented":  {&UnimplementedError{What: "Exec"}, codes.Unimplemented, "Exec not implemented"},
		"RRO in a step":  {inStep(&UnimplementedError{Prefix: "RROUnsupported", What: "x"}), codes.Unimplemented, "RROUnsupported: Create container c: plan: RROUnsupported: x not implemented"},
		"deadline":       {inStep(context.DeadlineExceeded), codes.DeadlineExceeded, "Create container c: plan: context deadline exceeded"},
		"canceled":       {context.Canceled, codes.Canceled, "context canceled"},
		"coded":          {fmt.Errorf("a: %w", status.Error(codes.AlreadyExists, "b")), codes.AlreadyExists, "a: rpc error: code = AlreadyExists desc = b"},
		"anything":       {plain, codes.Unknown, "x"},
		"unauthorized":   {pull(imagefault.Unauthorized, plain), codes.Unauthenticated, "pull r/i:t: fetch manifest: x"},
		"no such image":  {pull(imagefault.NotFound, plain), codes.NotFound, "pull r/i:t: fetch manifest: x"},
		"rate":           {pull(imagefault.RateLimited, plain), codes.ResourceExhausted, "pull r/i:t: fetch manifest: x"},
		"registry":       {inStep(pull(imagefault.Unavailable, plain)), codes.Unknown, "RegistryUnavailable: Create container c: plan: pull r/i:t: fetch manifest: x"},
		"registry slow":  {pull(imagefault.Unavailable, context.DeadlineExceeded), codes.Unknown, "RegistryUnavailable: pull r/i:t: fetch manifest: context deadline exceeded"},
		"digest":         {pull(imagefault.Digest, plain), codes.DataLoss, "pull r/i:t: fetch manifest: x"},
		"platform":       {pull(imagefault.Platform, plain), codes.FailedPrecondition, "pull r/i:t: fetch manifest: x"},
		"space":          {pull(imagefault.NoSpace, plain), codes.ResourceExhausted, "pull r/i:t: fetch manifest: no space left in the image store: x"},
		"pull canceled":  {pull(imagefault.Canceled, context.Canceled), codes.Canceled, "pull r/i:t: fetch manifest: context canceled"},
		"pull deadline":  {pull(imagefault.Canceled, context.DeadlineExceeded), codes.DeadlineExceeded, "pull r/i:t: fetch manifest: context deadline exceeded"},
		"pull of a kind": {pull("new kind", plain), codes.Unknown, "pull r/i:t: fetch manifest: x"},
	} {
		s, ok := status.FromError(Status(c.err))
		if !ok || s.Code() != c.code || s.Message() != c.text {
			t.Errorf("%s: %s %q, want %s %q", name, s.Code(), s.Message(), c.code, c.text)
		}
	}
	if Status(nil) != nil {
		t.Error("no error has a status")
	}
}

// Every kind of pull error has a code.
func TestPullCodes(t *testing.T) {
	for _, k := range []imagefault.Kind{
		imagefault.Unauthorized, imagefault.NotFound, imagefault.RateLimited, imagefault.Unavailable, imagefault.Digest, imagefault.Invalid,
		imagefault.Platform, imagefault.NoSpace, imagefault.Canceled, imagefault.Internal,
	} {
		if _, ok := pullCodes[k]; !ok {
			t.Errorf("%s has no code", k)
		}
	}
}
