package plan

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func value(v int64) *runtimeapi.Int64Value { return &runtimeapi.Int64Value{Value: v} }

func TestResolveUser(t *testing.T) {
	type security = runtimeapi.LinuxContainerSecurityContext
	for name, c := range map[string]struct {
		sc    *security
		image string
		want  string // "uid:gid groups home", or what the error says
	}{
		"nothing":               {&security{}, "", "0:0 [0] /root"},
		"no security context":   {nil, "", "0:0 [0] /root"},
		"image name":            {&security{}, "alice", "1000:1001 [1001 50000 10] /home/alice"},
		"image name and group":  {&security{}, "www-data:staff", "33:50000 [50000] /var/www"},
		"image name and gid":    {&security{}, "www-data:1004", "33:1004 [1004] /var/www"},
		"image uid":             {&security{}, "1002", "1002:0 [0] /"},
		"image uid and gid":     {&security{}, "1003:1004", "1003:1004 [1004] /"},
		"image uid, known":      {&security{}, "1000", "1000:1001 [1001 50000 10] /home/alice"},
		"image group only":      {&security{}, ":staff", "0:50000 [50000] /root"},
		"request over image":    {&security{RunAsUser: value(33)}, "alice:staff", "33:34 [34] /var/www"},
		"request uid and gid":   {&security{RunAsUser: value(1000), RunAsGroup: value(3000)}, "", "1000:3000 [3000 50000 10] /home/alice"},
		"request name":          {&security{RunAsUsername: "alice"}, "", "1000:1001 [1001 50000 10] /home/alice"},
		"request name and gid":  {&security{RunAsUsername: "alice", RunAsGroup: value(5)}, "", "1000:5 [5 50000 10] /home/alice"},
		"root again":            {&security{RunAsUser: value(0)}, "alice", "0:0 [0] /root"},
		"supplemental":          {&security{RunAsUser: value(1000), SupplementalGroups: []int64{60000, 10}}, "", "1000:1001 [1001 50000 10 60000] /home/alice"},
		"supplemental strict":   {&security{RunAsUser: value(1000), SupplementalGroups: []int64{60000}, SupplementalGroupsPolicy: runtimeapi.SupplementalGroupsPolicy_Strict}, "", "1000:1001 [1001 60000] /home/alice"},
		"CVE-2016-3697":         {&security{RunAsUsername: "1000"}, "", "1000:1001 [1001 50000 10] /home/alice"},
		"group without user":    {&security{RunAsGroup: value(5)}, "alice", "run_as_group: is set without"},
		"user and name":         {&security{RunAsUser: value(5), RunAsUsername: "alice"}, "", "run_as_username: is set beside"},
		"unknown name":          {&security{RunAsUsername: "mallory"}, "", "run_as_username: user \"mallory\" is not in"},
		"name with colon":       {&security{RunAsUsername: "alice:0"}, "", "is not a user name"},
		"unknown image name":    {&security{}, "mallory", "image config.User: user \"mallory\""},
		"unknown image group":   {&security{}, "alice:nogroup", "group \"nogroup\" is not in"},
		"CVE-2024-40635":        {&security{}, "2147483648:2147483648", "not between 0"},
		"CVE-2024-40635 wrap":   {&security{}, "4294967296", "not between 0"},
		"huge":                  {&security{}, "99999999999999999999", "not between 0"},
		"gid too large":         {&security{}, "1:4294967296", "group \"4294967296\" is not between"},
		"negative":              {&security{}, "-1", "not between 0"},
		"request negative":      {&security{RunAsUser: value(-1)}, "", "run_as_user: -1"},
		"request too large":     {&security{RunAsUser: value(1 << 32)}, "", "run_as_user: 4294967296"},
		"group negative":        {&security{RunAsUser: value(1), RunAsGroup: value(-5)}, "", "run_as_group: -5"},
		"supplemental negative": {&security{SupplementalGroups: []int64{1, -1}}, "", "supplemental_groups[1]"},
		"policy":                {&security{SupplementalGroupsPolicy: 5}, "", "supplemental_groups_policy"},
		"CVE-2026-30892 plus":   {&security{}, "+1", "user \"+1\" is not in"},
		"space":                 {&security{}, " 0", "user \" 0\" is not in"},
		"underscore":            {&security{}, "0_0", "is not in"},
		"hex":                   {&security{}, "0x0", "is not in"},
		"entry without number":  {&security{}, "broken", "is not in"},
		"entry out of range":    {&security{}, "huge", "is not in"},
		"broken group":          {&security{}, "alice:broken", "is not in"},
	} {
		u, err := resolveUser(c.sc, c.image, []byte(passwd), []byte(group))
		got := ""
		if err != nil {
			got = err.Error()
			if !strings.Contains(got, c.want) {
				t.Errorf("%s: error %q, want %s", name, got, c.want)
			}
			continue
		}
		groups := make([]string, len(u.Groups))
		for i, g := range u.Groups {
			groups[i] = strconv.Itoa(int(g))
		}
		got = strconv.Itoa(int(u.UID)) + ":" + strconv.Itoa(int(u.GID)) + " [" + strings.Join(groups, " ") + "] " + u.Home
		if got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestResolveUserWithoutFiles(t *testing.T) {
	u, err := resolveUser(nil, "5:6", nil, nil)
	if err != nil || u.UID != 5 || u.GID != 6 || u.Home != "/" {
		t.Errorf("user %+v, %v", u, err)
	}
	if _, err = resolveUser(nil, "root", nil, nil); err == nil {
		t.Error("a name is found in no file")
	}
}

func TestImageUser(t *testing.T) {
	for user, want := range map[string]string{
		"": "", "1002": "1002", "1003:1004": "1003", "www-data": "www-data", "www-data:1004": "www-data", "0": "0", "4294967296": "", "-1": "",
	} {
		uid, name := ImageUser(user)
		if uid != nil {
			name = strconv.FormatInt(uid.Value, 10) + name
		}
		if name != want {
			t.Errorf("%q is %q, want %q", user, name, want)
		}
	}
}

// FuzzUser holds what CVE-2024-40635 and CVE-2026-46680 broke: only what says
// root is root.
func FuzzUser(f *testing.F) {
	for _, s := range []string{"", "0", "alice", "1000:0", "-0", "4294967296", "00", "root", "+0", "0x0"} {
		f.Add(s, passwd, group)
	}
	f.Fuzz(func(t *testing.T, image, passwd, group string) {
		u, err := resolveUser(nil, image, []byte(passwd), []byte(group))
		if err != nil {
			return
		}
		if u.UID > math.MaxInt32 || u.GID > math.MaxInt32 || !slices.Contains(u.Groups, u.GID) {
			t.Errorf("user %+v", u)
		}
		name, _, _ := strings.Cut(image, ":")
		if n, err := strconv.ParseInt(name, 10, 64); err == nil && !strings.HasPrefix(name, "+") && int64(u.UID) != n {
			t.Errorf("number %q became uid %d", name, u.UID)
		}
	})
}
