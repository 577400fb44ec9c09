package server

import (
	"fmt"

	"github.com/varve-cri/varve/cri/config"
	"github.com/varve-cri/varve/cri/plan"
)

// settings is the configuration in force and what the node is, as far as the
// configuration has a say in it. It is replaced as a whole.
type settings struct {
	cfg  *config.Config
	host *plan.Host
}

// conf is the configuration in force: ask it for what config.Reload can change,
// each time anew.
func (s *Server) conf() *config.Config { return s.settings.Load().cfg }

// facts is what the node is.
func (s *Server) facts() *plan.Host { return s.settings.Load().host }

// Reload puts a configuration in force for the requests from now on, of which
// config.Reload has changed what may change. On an error nothing has changed.
func (s *Server) Reload(cfg *config.Config, host *plan.Host) error {
	if err := s.checkHandlers(cfg); err != nil {
		return err
	}
	s.settings.Store(&settings{cfg, host})
	return nil
}

// checkHandlers says whether the node can do what the runtime handlers want.
func (s *Server) checkHandlers(cfg *config.Config) error {
	for _, name := range cfg.HandlerNames() {
		h, _ := cfg.Handler(name)
		if h.LayerFormat == "" {
			continue
		}
		if err := s.images.CheckFormat(h.LayerFormat); err != nil {
			return fmt.Errorf("runtime.handlers[%q].layerFormat: %w", name, err)
		}
	}
	return nil
}
