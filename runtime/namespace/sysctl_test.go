package namespace

import (
	"errors"
	"strings"
	"testing"
)

func TestCheckSysctl(t *testing.T) {
	host, pod := Spec{}, all()
	for _, tc := range []struct {
		key, value string
		s          Spec
		want       string // part of the refusal; "" when allowed
	}{
		{"net.core.somaxconn", "1024", pod, ""},
		{"net/core/somaxconn", "1024", pod, ""},
		{"net.ipv4.conf.eth0/1.forwarding", "1", pod, ""},
		{"net.ipv4.ping_group_range", "0\t2147483647", pod, ""},
		{"kernel.shm_rmid_forced", "1", pod, ""},
		{"kernel.msgmnb", "1", pod, ""},
		{"kernel.sem", "1 2 3 4", pod, ""},
		{"fs.mqueue.queues_max", "1", pod, ""},
		// CVE-2022-0532: the host's own namespaces.
		{"net.core.somaxconn", "1", host, "no network namespace"},
		{"kernel.shmmax", "1", host, "no IPC namespace"},
		{"kernel.msgmax", "1", Spec{Net: true}, "no IPC namespace"},
		{"fs.mqueue.msg_max", "1", Spec{UTS: true}, "no IPC namespace"},
		// CVE-2022-0811: a second setting in the value, or after a plus sign.
		{"kernel.shm_rmid_forced", "1+kernel.core_pattern=|/x", pod, ""}, // one write to one file: the kernel refuses the value
		{"kernel.shm_rmid_forced", "1\nkernel.core_pattern=|/x", pod, "line breaks"},
		{"kernel.shm_rmid_forced+kernel.core_pattern", "x", pod, ""}, // a file that is not there
		{"kernel.core_pattern", "|/x", pod, "no namespace"},
		{"kernel.hostname", "a", pod, "hostname sets it"},
		{"kernel.domainname", "a", pod, ""},
		{"kernel.domainname", "a", Spec{Net: true, IPC: true}, "no UTS namespace"},
		{"kernel.semantics", "a", pod, ""},
		{"vm.swappiness", "1", pod, "no namespace"},
		{"fs.file-max", "1", pod, "no namespace"},
		{"fs.mqueue", "1", pod, "no namespace"},
		{"net", "1", pod, "not a name"},
		{"", "1", pod, "not a name"},
		{"net..core", "1", pod, "not a name"},
		{"net/../kernel/core_pattern", "1", pod, "not a name"},
		{"net.//.kernel.core_pattern", "1", pod, "not a name"},
		{"/net/core/somaxconn", "1", pod, "not a name"},
		{"net.core.", "1", pod, "not a name"},
		{"net.core.a\nb", "1", pod, "not a name"},
		{"net.core.somaxconn", strings.Repeat("1", maxSysctl+1), pod, "too long"},
	} {
		err := CheckSysctl(tc.key, tc.value, tc.s)
		switch {
		case tc.want == "" && err != nil:
			t.Errorf("%q: %v", tc.key, err)
		case tc.want != "" && (!errors.Is(err, ErrSysctl) || !strings.Contains(err.Error(), tc.want)):
			t.Errorf("%q: got %v, want %q", tc.key, err, tc.want)
		}
	}
}

// TestPlusIsOnlyText sets what once changed the host through a parser of
// "key=value+key=value" lines.
func TestPlusIsOnlyText(t *testing.T) {
	before := read("/proc/sys/kernel/core_pattern")
	for _, s := range []Spec{
		{IPC: true, Sysctls: map[string]string{"kernel.shm_rmid_forced": "1+kernel.core_pattern=varve"}},
		{IPC: true, Sysctls: map[string]string{"kernel.shm_rmid_forced+kernel.core_pattern": "varve"}},
	} {
		dir := t.TempDir() + "/ns"
		if err := Pin(dir, s); err == nil {
			t.Errorf("%v was taken", s.Sysctls)
		}
		clean(t, dir)
	}
	if after := read("/proc/sys/kernel/core_pattern"); after != before {
		t.Errorf("core_pattern is now %q", after)
	}
}

func FuzzSysctlFile(f *testing.F) {
	f.Add("net.ipv4.conf.eth0/1.forwarding")
	f.Add("net/ipv4/../x")
	f.Fuzz(func(t *testing.T, key string) {
		file, ok := sysctlFile(key)
		if !ok {
			return
		}
		for part := range strings.SplitSeq(file, "/") {
			if part == "" || part == "." || part == ".." {
				t.Errorf("%q became %q", key, file)
			}
		}
	})
}
