package plan

import (
	"bytes"
	"math"
	"strconv"
	"strings"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/fault"
	"github.com/varve-cri/varve/cri/record"
)

// maxID is the highest user or group id. The kernel has ids up to 2^32-2, but
// programs and the CRI's runAsNonRoot check have overflowed on those above
// (CVE-2024-40635).
const maxID = math.MaxInt32

const securityField = "config.linux.security_context."

// idValue checks an id of a request. A nil value is 0.
func idValue(field string, v *runtimeapi.Int64Value) (uint32, error) {
	return id(field, v.GetValue())
}

func id(field string, v int64) (uint32, error) {
	if v < 0 || v > maxID {
		return 0, fault.Invalid(field, "%d is not between 0 and %d", v, maxID)
	}
	return uint32(v), nil
}

// userWish is who the process is to be, before the image's files are read.
type userWish struct {
	field string // of the user
	user  string // name or number; empty is root
	group string // name or number; empty is the user's own by passwd
}

// wish takes the request's user, else the image's.
func wish(sc *runtimeapi.LinuxContainerSecurityContext, image string) (userWish, error) {
	uid, gid, name := sc.GetRunAsUser(), sc.GetRunAsGroup(), sc.GetRunAsUsername()
	w := userWish{field: "image config.User", user: image}
	switch {
	case uid != nil && name != "":
		return w, fault.Invalid(securityField+"run_as_username", "is set beside run_as_user")
	case gid != nil && uid == nil && name == "":
		// The CRI: "should only be specified when run_as_user or
		// run_as_username is specified; otherwise, the runtime MUST error".
		return w, fault.Invalid(securityField+"run_as_group", "is set without run_as_user or run_as_username")
	case uid != nil:
		if _, err := idValue(securityField+"run_as_user", uid); err != nil {
			return w, err
		}
		w = userWish{field: securityField + "run_as_user", user: strconv.FormatInt(uid.Value, 10)}
	case name != "":
		if strings.Contains(name, ":") {
			return w, fault.Invalid(securityField+"run_as_username", "%q is not a user name", name)
		}
		w = userWish{field: securityField + "run_as_username", user: name}
	default:
		w.user, w.group, _ = strings.Cut(image, ":")
		return w, nil
	}
	if gid != nil {
		if _, err := idValue(securityField+"run_as_group", gid); err != nil {
			return w, err
		}
		w.group = strconv.FormatInt(gid.Value, 10)
	}
	return w, nil
}

// resolveUser finds the process's ids by the image's files.
func resolveUser(sc *runtimeapi.LinuxContainerSecurityContext, image string, passwd, group []byte) (User, error) {
	w, err := wish(sc, image)
	if err != nil {
		return User{}, err
	}
	entry, found, err := lookupUser(w, passwd)
	if err != nil {
		return User{}, err
	}
	u := User{UID: entry.uid, GID: entry.gid, Home: "/"}
	if found && entry.home != "" {
		u.Home = entry.home
	}
	if w.group != "" {
		if u.GID, err = lookupGroup(w.group, w.field, group); err != nil {
			return User{}, err
		}
	}
	u.Groups = []uint32{u.GID} // CVE-2022-36109: the primary group is one of them
	if sc.GetSupplementalGroupsPolicy() == runtimeapi.SupplementalGroupsPolicy_Merge && found {
		u.Groups = append(u.Groups, memberships(entry.name, group)...)
	}
	for i, g := range sc.GetSupplementalGroups() {
		v, err := id(securityField+"supplemental_groups["+strconv.Itoa(i)+"]", g)
		if err != nil {
			return User{}, err
		}
		u.Groups = append(u.Groups, v)
	}
	switch p := sc.GetSupplementalGroupsPolicy(); p {
	case runtimeapi.SupplementalGroupsPolicy_Merge, runtimeapi.SupplementalGroupsPolicy_Strict:
	default:
		return User{}, fault.Invalid(securityField+"supplemental_groups_policy", "%d is not known", p)
	}
	u.Groups = unique(u.Groups)
	return u, nil
}

// unique keeps the first of equal elements. A request may have 65536.
func unique(list []uint32) []uint32 {
	out := list[:0]
	seen := make(map[uint32]bool, len(list))
	for _, v := range list {
		if !seen[v] {
			seen[v] = true
			out = append(out, v)
		}
	}
	return out
}

// passwdEntry is what of a line of /etc/passwd counts.
type passwdEntry struct {
	name     string
	uid, gid uint32
	home     string
}

// lookupUser finds the wished user. A number is a number, whatever names the
// image has (CVE-2016-3697), and need not be in the image; a name must be.
func lookupUser(w userWish, passwd []byte) (passwdEntry, bool, error) {
	if w.user == "" {
		w.user = "0"
	}
	n, numeric, ok := parseID(w.user)
	if numeric && !ok {
		return passwdEntry{}, false, fault.Invalid(w.field, "%q is not between 0 and %d", w.user, maxID)
	}
	for line := range bytes.Lines(passwd) {
		e, ok := parsePasswd(line)
		if ok && (numeric && e.uid == n || !numeric && e.name == w.user) {
			return e, true, nil
		}
	}
	if !numeric {
		return passwdEntry{}, false, fault.Invalid(w.field, "user %q is not in the image's /etc/passwd", w.user)
	}
	return passwdEntry{uid: n}, false, nil
}

func lookupGroup(name, field string, group []byte) (uint32, error) {
	n, numeric, ok := parseID(name)
	if numeric {
		if !ok {
			return 0, fault.Invalid(field, "group %q is not between 0 and %d", name, maxID)
		}
		return n, nil
	}
	for line := range bytes.Lines(group) {
		f := fields(line)
		if len(f) < 3 || string(f[0]) != name {
			continue
		}
		if gid, _, ok := parseID(string(f[2])); ok {
			return gid, nil
		}
	}
	return 0, fault.Invalid(field, "group %q is not in the image's /etc/group", name)
}

// memberships returns the groups whose lines list the user.
func memberships(user string, group []byte) []uint32 {
	var out []uint32
	for line := range bytes.Lines(group) {
		f := fields(line)
		if len(f) < 4 {
			continue
		}
		gid, _, ok := parseID(string(f[2]))
		if !ok {
			continue
		}
		for member := range bytes.SplitSeq(f[3], []byte(",")) {
			if string(bytes.TrimSpace(member)) == user {
				out = append(out, gid)
				break
			}
		}
	}
	return out
}

// parsePasswd reads one line. A line whose ids are not numbers in range is no
// entry: read as 0 they would be root's.
func parsePasswd(line []byte) (passwdEntry, bool) {
	f := fields(line)
	if len(f) < 4 || len(f[0]) == 0 {
		return passwdEntry{}, false
	}
	uid, _, ok1 := parseID(string(f[2]))
	gid, _, ok2 := parseID(string(f[3]))
	if !ok1 || !ok2 {
		return passwdEntry{}, false
	}
	e := passwdEntry{name: string(f[0]), uid: uid, gid: gid}
	if len(f) > 5 {
		e.home = string(f[5])
	}
	return e, true
}

// fields splits a line of passwd or group; a comment or an empty line has none.
func fields(line []byte) [][]byte {
	line = bytes.TrimSpace(line)
	if len(line) == 0 || line[0] == '#' || bytes.IndexByte(line, 0) >= 0 {
		return nil
	}
	return bytes.Split(line, []byte(":"))
}

// parseID says whether a string is a number at all, and whether it is an id.
// "+1", " 1" and "1_0" are names for this purpose, and no user has them;
// "-1" is a number out of range (crun's CVE-2026-30892 was a lenient parser).
func parseID(s string) (id uint32, numeric, ok bool) {
	digits := strings.TrimPrefix(s, "-")
	if digits == "" {
		return 0, false, false
	}
	for _, r := range digits {
		if r < '0' || r > '9' {
			return 0, false, false
		}
	}
	v, err := strconv.ParseInt(s, 10, 64)
	if err != nil || s[0] == '-' || v > maxID { // "-0" is no id either
		return 0, true, false
	}
	return uint32(v), true, true
}

// RecordUser is a planned user as the record keeps it.
func RecordUser(u User) record.User {
	return record.User{UID: u.UID, GID: u.GID, Groups: u.Groups}
}

// ImageUser splits an image's USER for Image.uid and Image.username: a number
// is a uid, whatever name the image has for it. A number out of range is
// neither: the kubelet must not take it for a name.
func ImageUser(user string) (uid *runtimeapi.Int64Value, name string) {
	for i := range len(user) {
		if user[i] == ':' {
			user = user[:i]
			break
		}
	}
	n, numeric, ok := parseID(user)
	switch {
	case user == "" || numeric && !ok:
		return nil, ""
	case numeric:
		return &runtimeapi.Int64Value{Value: int64(n)}, ""
	default:
		return nil, user
	}
}
