package hostpath

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"

	"github.com/varve-cri/varve/cri/fault"
	"github.com/varve-cri/varve/cri/plan"
	"github.com/varve-cri/varve/runtime/idmap"
)

func TestMapped(t *testing.T) {
	c := &Checker{Limit: 10 * time.Second}
	ids := []idmap.Range{{Inside: 0, Outside: 100000, Length: 65536}}
	v := plan.Volume{Field: "config.mounts[3].host_path", HostPath: t.TempDir(), UIDs: ids, GIDs: ids}
	if err := os.WriteFile(v.HostPath+"/file", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var spaces idmap.Spaces
	defer spaces.Close()
	for range 2 {
		f, err := c.Mapped(t.Context(), v, &spaces)
		if err != nil {
			t.Fatal(err)
		}
		var st unix.Stat_t
		if err := unix.Fstatat(int(f.Fd()), "file", &st, 0); err != nil || st.Uid != 100000 || st.Gid != 100000 {
			t.Errorf("owner %d:%d, %v", st.Uid, st.Gid, err)
		}
		f.Close()
	}
	for path, want := range map[string]string{"/proc/self": "cannot show other owners", v.HostPath + "/none": "no such file"} {
		v.HostPath = path
		_, err := c.Mapped(t.Context(), v, &spaces)
		var bad *fault.InvalidError
		if !errors.As(err, &bad) || bad.Field != v.Field || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
	// What does not answer in time, here none at all, is let go of when it does.
	v.HostPath = t.TempDir()
	hasty := &Checker{}
	for range 50 {
		f, err := hasty.Mapped(t.Context(), v, &spaces)
		if err == nil {
			f.Close()
		} else if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("no time: %v", err)
		}
	}
	c.probes.Store(maxProbes)
	_, err := c.Mapped(t.Context(), v, &spaces)
	if code, _ := fault.Code(err); code != codes.ResourceExhausted {
		t.Errorf("with %d looks that hang: %v", maxProbes, err)
	}
}
