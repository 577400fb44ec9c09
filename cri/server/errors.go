package server

import (
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/varve-cri/varve/cri/fault"
	"github.com/varve-cri/varve/cri/network"
	"github.com/varve-cri/varve/runtime/cgroup"
	"github.com/varve-cri/varve/shim"
)

// codedError is an error that has its gRPC code already. How any other error
// gets one is fault.Code's business.
type codedError struct {
	code codes.Code
	err  error
}

func (e *codedError) Error() string { return e.err.Error() }
func (e *codedError) Unwrap() error { return e.err }

// GRPCStatus is what fault.Code looks for.
func (e *codedError) GRPCStatus() *status.Status { return status.New(e.code, e.err.Error()) }

func coded(code codes.Code, format string, args ...any) error {
	return &codedError{code, fmt.Errorf(format, args...)}
}

func notFound(kind, id string) error { return &fault.NotFoundError{Kind: kind, ID: id} }

func invalid(field, format string, args ...any) error {
	return &fault.InvalidError{Field: field, Problem: fmt.Sprintf(format, args...)}
}

func isNotFound(err error) bool {
	var e *fault.NotFoundError
	return errors.As(err, &e)
}

// toStatus turns an error into what goes over the wire: errors of the layers
// that fault does not know get their meaning here.
func toStatus(err error) error {
	if _, known := fault.Code(err); !known {
		var use *cgroup.InUseError
		var port *network.PortError
		switch {
		case errors.Is(err, shim.ErrExited), errors.Is(err, cgroup.ErrNoController), errors.Is(err, network.ErrNoConfig), errors.As(err, &use), errors.As(err, &port):
			return status.Error(codes.FailedPrecondition, fault.Message(err))
		case errors.Is(err, shim.ErrUnsupported):
			return status.Error(codes.Unimplemented, fault.Message(err))
		}
	}
	return fault.Status(err)
}
