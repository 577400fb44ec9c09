package admin

import (
	"net/http"

	"github.com/varve-cri/varve/cri/admin/wire"
	"github.com/varve-cri/varve/cri/fault"
)

func (s *Server) postReload(w http.ResponseWriter, _ *http.Request) error {
	changed, restart, err := s.Reload()
	if err != nil {
		return &fault.PreconditionError{Object: "configuration", Problem: err.Error()}
	}
	return s.reply(w, wire.Reload{Changed: append([]string{}, changed...), NeedsRestart: append([]string{}, restart...)})
}
