package admin_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/varve-cri/varve/cri/admin"
)

func TestReload(t *testing.T) {
	n := newNode(t)
	r, err := n.Reload(t.Context())
	if err != nil || len(r.Changed) != 1 || r.Changed[0] != "log.verbosity" || r.NeedsRestart == nil {
		t.Errorf("%+v, %v", r, err)
	}
	// Nobody but root, and what the kernel does not vouch for is nobody.
	s := admin.New(admin.Options{Reload: func() (a, b []string, err error) { return nil, nil, errors.New("it was reached") }})
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/v1/reload", nil))
	if w.Code != http.StatusForbidden || strings.Contains(w.Body.String(), "reached") {
		t.Errorf("%d: %s", w.Code, w.Body)
	}
}
