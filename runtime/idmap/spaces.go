package idmap

import (
	"fmt"
	"os"
)

// Spaces are user namespaces by their mapping, for as long as several mounts are
// made with the same. The zero value is ready. It is not for concurrent use.
type Spaces struct{ made map[string]*os.File }

// Get gives the user namespace with the mapping; the Spaces keep it.
func (s *Spaces) Get(uids, gids []Range) (*os.File, error) {
	key := fmt.Sprint(uids, gids)
	if ns, ok := s.made[key]; ok {
		return ns, nil
	}
	ns, err := Namespace(uids, gids)
	if err != nil {
		return nil, err
	}
	if s.made == nil {
		s.made = map[string]*os.File{}
	}
	s.made[key] = ns
	return ns, nil
}

// Close gives them up. Mounts that were made with one keep it.
func (s *Spaces) Close() {
	for _, ns := range s.made {
		ns.Close()
	}
	s.made = nil
}
