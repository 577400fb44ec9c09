package apparmor

import (
	"errors"
	"os"
	"testing"

	"github.com/varve-cri/varve/cri/fault"
	"github.com/varve-cri/varve/cri/plan"
)

// The kernel's list is read where it has one; where it has none, it is the kernel
// that refuses what is not there. What is enforced is tested end to end.
func TestEnsure(t *testing.T) {
	var p Profiles
	for _, name := range []string{"", plan.AppArmorUnconfined} {
		if err := p.Ensure(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	err := p.Ensure("varve-test-no-such-profile")
	var bad *fault.InvalidError
	_, listed := os.Stat("/sys/kernel/security/apparmor/profiles")
	if (listed == nil) != errors.As(err, &bad) || listed != nil && err != nil {
		t.Errorf("a profile that is not there: %v (list: %v)", err, listed)
	}
}

// Without AppArmor the default profile cannot be loaded, and the error says which.
func TestDefaultIsNotThere(t *testing.T) {
	if _, err := os.Stat("/sys/kernel/security/apparmor"); err == nil {
		var p Profiles
		if err := p.Ensure(plan.AppArmorDefault); err != nil && CanLoad() {
			t.Errorf("it can be loaded, but: %v", err)
		}
		return
	}
	var p Profiles
	t.Setenv("PATH", t.TempDir())
	if CanLoad() {
		t.Error("it can be loaded without a parser")
	}
	if err := p.Ensure(plan.AppArmorDefault); err == nil || p.loaded {
		t.Errorf("it is loaded: %v", err)
	}
}
