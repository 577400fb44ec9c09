package admin

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/varve-cri/varve/cri/admin/wire"
	"github.com/varve-cri/varve/imagestore/progress"
)

func (s *Server) getOperations(w http.ResponseWriter, _ *http.Request) error {
	all := wire.Operations{Operations: []wire.Operation{}}
	for _, l := range s.Live() {
		all.Operations = append(all.Operations, wire.Operation{
			Verb: l.Verb, Object: l.Object, ID: l.ID, Step: l.Step, Detail: l.Detail, Index: l.Index, Steps: l.Steps, Undoing: l.Undoing, Since: l.Since,
		})
	}
	for _, p := range s.Store.Pulls().List() {
		if !p.Stage.Ended() {
			all.Operations = append(all.Operations, pulling(p))
		}
	}
	return s.reply(w, all)
}

// pulling is a pull as an operation: its steps are its stages.
func pulling(p progress.State) wire.Operation {
	stages := []progress.Stage{progress.Resolving, progress.Config, progress.Layers, progress.Joining, progress.Commit}
	step, ended := string(p.Stage), 0
	if p.Stage == progress.Layers {
		for _, l := range p.Layers {
			if l.Stage.Ended() {
				ended++
			}
		}
		step = fmt.Sprintf("layers, %d of %d", ended, len(p.Layers))
	}
	return wire.Operation{
		Verb: "Pull", Object: "image " + p.Reference, ID: p.ID, Step: step,
		Index: slices.Index(stages, p.Stage), Steps: len(stages), Since: p.Started,
	}
}
