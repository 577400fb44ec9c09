package main

import (
	"fmt"
	"slices"
	"sync"

	"k8s.io/klog/v2"

	"github.com/varve-cri/varve/cri/config"
	"github.com/varve-cri/varve/cri/server"
	"github.com/varve-cri/varve/imagestore"
)

// reloader puts a changed configuration in force, as far as a running daemon can.
type reloader struct {
	flags  flags
	server *server.Server
	images *imagestore.Store

	mu  sync.Mutex     // held during a reload
	cfg *config.Config // in force; guarded by mu
}

// reload reads the configuration again. It returns which fields have changed, and
// which have but need a restart. A configuration that is bad, or that the node
// cannot follow, changes nothing.
func (r *reloader) reload() (changed, restart []string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	next, err := load(r.flags)
	if err != nil {
		return nil, nil, err
	}
	now, changed, restart := r.cfg.Reload(next)
	const verbosity = "log.verbosity"
	if i := slices.Index(changed, verbosity); i >= 0 && r.flags.verbosity >= 0 { // the command line has the last word
		changed, restart = slices.Delete(changed, i, i+1), append(restart, verbosity)
		now.Log.Verbosity = r.cfg.Log.Verbosity
	}
	if len(changed) == 0 {
		return nil, restart, nil
	}
	if err := now.Validate(); err != nil {
		return nil, nil, fmt.Errorf("together with what needs a restart: %w", err)
	}
	return changed, restart, r.apply(now)
}

// apply puts cfg in force: first what can fail, and last what cannot.
func (r *reloader) apply(cfg *config.Config) error {
	facts, err := hostFacts(cfg)
	if err != nil {
		return err
	}
	if err := r.images.Reload(imageConfig(cfg)); err != nil {
		return err
	}
	if err := r.server.Reload(cfg, facts); err != nil {
		if rerr := r.images.Reload(imageConfig(r.cfg)); rerr != nil {
			klog.ErrorS(rerr, "Registries are not as they were")
		}
		return err
	}
	var level klog.Level
	if r.flags.verbosity < 0 {
		if err := level.Set(fmt.Sprint(cfg.Log.Verbosity)); err != nil { // klog's own lock guards it
			klog.ErrorS(err, "Verbosity is not set")
		}
	}
	r.cfg = cfg
	return nil
}

// hangUp is what a SIGHUP does.
func (r *reloader) hangUp() {
	changed, restart, err := r.reload()
	if err != nil {
		klog.ErrorS(err, "Configuration is not reloaded; what was in force still is")
		return
	}
	none := []string{} // and not nil, which is written as null
	klog.InfoS("Configuration is reloaded", "changed", append(none, changed...), "needsRestart", append(none, restart...))
}
