package plan

import (
	"strconv"
	"strings"
	"testing"
)

// CVE-2024-40635, CVE-2026-46680: whatever an image's USER says, the container is
// root only if the kernel's own reading of the words says so, and what the kubelet
// is told for runAsNonRoot is what will run.
func FuzzCVE_2026_46680_UserStrings(f *testing.F) {
	for _, s := range []string{"", "0", "00", "1000", "-1", "+0", "0x0", "4294967296", "2147483648", "18446744073709551616", "alice", "alice:0", ":", ":0", "0:", "1e3", " 0", "0 ", "0\n", "\x00", "٠", "０", "root", "root:root", "toor", "1000:1000:0", "-0", "0_0", "00000000000000000000000", "9223372036854775808", "1\u200b", "ROOT"} {
		f.Add(s)
	}
	roots := map[string]bool{"": true, "root": true, "toor": true}
	files := []byte("root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1001::/home/alice:/bin/sh\ntoor:x:0:0::/:\n1000:x:0:0:trap:/:\n")
	f.Fuzz(func(t *testing.T, s string) {
		u, err := resolveUser(nil, s, files, []byte("root:x:0:\nstaff:x:50:alice\n"))
		toldUID, toldName := ImageUser(s)
		name, _, _ := strings.Cut(s, ":")
		if err != nil {
			return
		}
		n, bad := strconv.ParseUint(name, 10, 64)
		number := bad == nil
		switch {
		case number && (n > maxID || uint64(u.UID) != n):
			t.Fatalf("USER %q runs as %d", s, u.UID)
		case !number && u.UID == 0 && !roots[name]:
			t.Fatalf("USER %q runs as root", s)
		case toldUID != nil && toldUID.GetValue() != int64(u.UID):
			t.Fatalf("USER %q runs as %d, and the kubelet is told %d", s, u.UID, toldUID.GetValue())
		case toldUID == nil && toldName == "" && u.UID != 0:
			t.Fatalf("USER %q runs as %d, and the kubelet is told nothing", s, u.UID)
		case toldName != "" && toldName != name:
			t.Fatalf("USER %q: the kubelet is told %q", s, toldName)
		}
	})
}
