package logdir

import (
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestEnsure(t *testing.T) {
	top, outside := t.TempDir()+"/pod", t.TempDir()
	for range 2 {
		if err := Ensure(top, top+"/web/more/0.log"); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(top + "/web/more"); err != nil || !info.IsDir() || info.Mode().Perm() != mode {
		t.Errorf("%v, %v", info, err)
	}
	for _, nothing := range []string{"", top + "/0.log", "/elsewhere/0.log"} {
		if err := Ensure(top, nothing); err != nil {
			t.Errorf("%q: %v", nothing, err)
		}
	}
	if err := os.Symlink(outside, top+"/link"); err != nil {
		t.Fatal(err)
	}
	err := Ensure(top+"/", top+"/link/x/0.log")
	if !errors.Is(err, unix.ELOOP) || !strings.Contains(err.Error(), "make log directory "+top+"/link/x") {
		t.Errorf("through a link: %v", err)
	}
	if _, err := os.Stat(outside + "/x"); err == nil {
		t.Error("a directory was made outside")
	}
	if err := os.WriteFile(top+"/file", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Ensure(top, top+"/file/0.log"); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("below a file: %v", err)
	}
	if err := Ensure(top+"/file", top+"/file/a/0.log"); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("top is a file: %v", err)
	}
}

func TestMarked(t *testing.T) {
	for _, c := range []struct{ top, log, want string }{
		{"/var/log/pods/x", "/var/log/pods/x/web/0.log", "/var/log/pods/x/./web/0.log"},
		{"/var/log/pods/x/", "/var/log/pods/x/0.log", "/var/log/pods/x/./0.log"},
		{"", "", ""}, {"", "/x", "/x"}, {"/", "/x", "/x"}, {"/a", "/ab/0.log", "/ab/0.log"},
	} {
		if got := Marked(c.top, c.log); got != c.want {
			t.Errorf("%q in %q is %q", c.log, c.top, got)
		}
	}
}
