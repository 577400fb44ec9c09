// Package apparmor sees to it that the AppArmor profile of a container is loaded
// before the container is made: the kernel would refuse it only when the process
// is executed. The profile RuntimeDefault is loaded when it is first needed, by
// apparmor_parser, which alone can compile one.
//
// It loads no other profile, and it sets none: the runtime does.
package apparmor

import (
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"sync"

	"github.com/moby/profiles/apparmor"

	"github.com/varve-cri/varve/cri/fault"
	"github.com/varve-cri/varve/cri/plan"
)

// Profiles are the profiles of this node. The zero value is ready.
type Profiles struct {
	mu     sync.Mutex
	loaded bool // the default one
}

// CanLoad says whether the default profile can be loaded, or is.
func CanLoad() bool {
	if _, err := exec.LookPath("apparmor_parser"); err == nil {
		return true
	}
	ok, err := apparmor.IsLoaded(plan.AppArmorDefault)
	return ok && err == nil
}

// Ensure returns when the profile with the name can be set. One that the node
// does not have is a *fault.InvalidError.
func (p *Profiles) Ensure(name string) error {
	switch name {
	case "", plan.AppArmorUnconfined:
		return nil
	case plan.AppArmorDefault:
		return p.ensureDefault()
	}
	ok, err := apparmor.IsLoaded(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil // securityfs is not mounted: the kernel will tell at the start
	case err != nil:
		return fmt.Errorf("AppArmor profiles: %w", err)
	case !ok:
		return &fault.InvalidError{Field: "config.linux.security_context.apparmor", Problem: fmt.Sprintf("profile %q is not loaded on this node", name)}
	}
	return nil
}

// ensureDefault loads the default profile, once in this process's life. One that
// is there stays: an administrator may have put it there.
func (p *Profiles) ensureDefault() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.loaded {
		return nil
	}
	if ok, err := apparmor.IsLoaded(plan.AppArmorDefault); err != nil || !ok {
		if err := apparmor.InstallDefault(plan.AppArmorDefault); err != nil {
			return fmt.Errorf("AppArmor profile %s: load: %w", plan.AppArmorDefault, err)
		}
	}
	p.loaded = true
	return nil
}
