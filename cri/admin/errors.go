package admin

import (
	"errors"
	"fmt"
	"net/http"

	"google.golang.org/grpc/codes"

	"github.com/varve-cri/varve/cri/fault"
	"github.com/varve-cri/varve/imagestore"
)

// methodError is for a path that exists and a method that it does not have.
type methodError struct{ method, path string }

func (e *methodError) Error() string {
	return fmt.Sprintf("%s: method %s is not known", e.path, e.method)
}

// classify gives the status of the answer, and the code for programs: the CRI's
// own for the same error.
func classify(err error) (status int, code codes.Code) {
	method, peer, tooLarge := (*methodError)(nil), (*peerError)(nil), (*http.MaxBytesError)(nil)
	switch {
	case errors.As(err, &method):
		return http.StatusMethodNotAllowed, codes.Unimplemented
	case errors.As(err, &peer):
		return http.StatusForbidden, codes.PermissionDenied
	case errors.As(err, &tooLarge):
		return http.StatusRequestEntityTooLarge, codes.InvalidArgument
	case errors.Is(err, imagestore.ErrNotFound):
		return http.StatusNotFound, codes.NotFound
	}
	code, _ = fault.Code(err)
	switch code {
	case codes.InvalidArgument:
		return http.StatusBadRequest, code
	case codes.NotFound:
		return http.StatusNotFound, code
	}
	return http.StatusInternalServerError, code
}
