package cgroup

import (
	"fmt"
	"testing"
)

func TestParseHost(t *testing.T) {
	const (
		hybrid = `30 25 0:26 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755
31 30 0:27 / /sys/fs/cgroup/unified rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate
32 30 0:28 / /sys/fs/cgroup/systemd rw shared:10 - cgroup cgroup rw,xattr,name=systemd
33 30 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:11 - cgroup cgroup rw,cpu,cpuacct
34 30 0:30 /kubepods/x /var/lib/other/memory rw - cgroup cgroup rw,memory
35 30 0:30 / /mnt/memory rw - cgroup cgroup rw,memory
36 30 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
37 30 0:31 / /mnt/nothing rw - cgroup cgroup rw
nonsense
`
		unified = "31 30 0:27 / /mnt/cg rw - cgroup2 cgroup2 rw\n32 30 0:27 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
	)
	for _, tc := range []struct {
		table string
		mode  Mode
		v1    string
		v2    string
	}{
		{hybrid, Hybrid, "[{/sys/fs/cgroup/systemd [name=systemd]} {/sys/fs/cgroup/cpu,cpuacct [cpu cpuacct]} {/sys/fs/cgroup/memory [memory]}]", "/sys/fs/cgroup/unified"},
		{unified, V2, "[]", "/sys/fs/cgroup"},
		{"", 0, "[]", ""},
		{"33 30 0:29 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n", V1, "[{/sys/fs/cgroup/pids [pids]}]", ""},
	} {
		h := parseHost([]byte(tc.table))
		if h.mode != tc.mode || fmt.Sprint(h.v1) != tc.v1 || h.v2 != tc.v2 {
			t.Errorf("%s %v %q\nwant %s %v %q", h.mode, h.v1, h.v2, tc.mode, tc.v1, tc.v2)
		}
	}
	g := parseHost([]byte(hybrid)).open("/pod/ctr")
	if g.v1Dir("cpuacct") != "/sys/fs/cgroup/cpu,cpuacct/pod/ctr" || g.v1Dir("pids") != "" || len(g.dirs()) != 4 || g.parent().Path() != "/pod" {
		t.Errorf("%v", g.dirs())
	}
	if err := parseHost(nil).open("/x").Remove(); err == nil {
		t.Error("a host without cgroups")
	}
}

func FuzzParseHost(f *testing.F) {
	f.Add([]byte("33 30 0:29 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n"))
	f.Fuzz(func(t *testing.T, table []byte) { parseHost(table).open("/a").dirs() })
}
