package imagestore

import "github.com/varve-cri/varve/imagestore/registry"

// sources is what may change while the store is open.
type sources struct {
	client *registry.Client
	pinned []string
}

// Reload takes over from cfg where images come from (Registries, RegistryDirs,
// DockerConfig, CredentialHelperDirs) and which are Pinned, for all pulls that begin
// from now on; its other fields are not looked at. On an error nothing has changed.
func (s *Store) Reload(cfg Config) error {
	cfg.Network, cfg.Transport = s.cfg.Network, s.cfg.Transport
	old := s.sources.Load()
	if err := s.setSources(cfg); err != nil {
		return err
	}
	old.client.Close() // idle connections; pulls that run keep theirs
	return nil
}

func (s *Store) setSources(cfg Config) error {
	client, err := registry.New(cfg.registries())
	if err != nil {
		return err
	}
	s.sources.Store(&sources{client, cfg.Pinned})
	return nil
}
