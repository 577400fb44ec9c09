package server

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestParseOOM(t *testing.T) {
	for text, want := range map[string]uint64{
		"oom_kill_disable 0\nunder_oom 0\noom_kill 3\n":               3, // v1
		"low 0\nhigh 0\nmax 5\noom 5\noom_kill 4\noom_group_kill 0\n": 4, // v2
		"oom_kill_disable 1\n":                                        0,
		"oom_kill 7":                                                  7,
		"oom_kill x\n":                                                0,
		"":                                                            0,
	} {
		if got := parseOOM([]byte(text)); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}

func TestParsePrivate(t *testing.T) {
	for text, want := range map[string]int{
		"1234 567 67 1 0 89 0\n": 500, "1 2 1 ": 1, "": 0, "12 3": 0, "x": 0,
	} {
		if got := parsePrivate([]byte(text)); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
	if got := private(); got < 100<<10 {
		t.Errorf("own private memory is %d", got)
	}
}

func TestValidID(t *testing.T) {
	for id, want := range map[string]bool{
		"a": true, "A-b_9": true, strings.Repeat("x", 64): true,
		"": false, strings.Repeat("x", 65): false, "a/b": false, "..": false, "a b": false, "é": false, "a/../b": false,
	} {
		if got := validID([]byte(id)); got != want {
			t.Errorf("%q: %v", id, got)
		}
	}
}

func TestV1Group(t *testing.T) {
	dirs := []string{"/sys/fs/cgroup/cpu/x", "/sys/fs/cgroup/pids/x", "/sys/fs/cgroup/freezer/x"}
	for _, tc := range []struct {
		dirs []string
		want string
	}{{dirs, dirs[2]}, {dirs[:2], dirs[1]}, {dirs[:1], dirs[0]}, {nil, ""}} {
		if got := v1Group(tc.dirs); got != tc.want {
			t.Errorf("%v: %q", tc.dirs, got)
		}
	}
}

func TestExitCode(t *testing.T) {
	for ws, want := range map[unix.WaitStatus][2]int32{
		0: {0, 0}, 3 << 8: {3, 0}, 255 << 8: {255, 0}, 9: {137, 9}, 15: {143, 15}, 11 | 0x80: {139, 11},
	} {
		if code, sig := exitCode(ws); code != want[0] || sig != want[1] {
			t.Errorf("%x: %d, %d, want %v", uint32(ws), code, sig, want)
		}
	}
}
