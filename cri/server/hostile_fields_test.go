package server

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/varve-cri/varve/e2e/hostile"
)

// harmless are the fields, by a pattern of method and path, that may hold any
// text or number, with the reason. What is not here must refuse every bad
// value.
var harmless = []struct{ fields, why string }{
	{`^\w+ (.*\.)?(labels|annotations|label_selector)\[`, "is given back, and compared, but never interpreted"},
	{`^\w+ (pod_sandbox_id|container_id|filter\.\w+|filter\.image\..*)$`, "is looked up; what is not there is gone, or not listed"},
	{`^RemoveImage image\.`, "an image must be removable whatever has become of its handler"},
	{`^\w+ (.*\.)?image\.(user_specified_image|image_ref)$`, "is given back"},
	{`^ImageStatus image\.image$`, "is looked up; what is not there has no status"},
	{`^Version version$`, "the client's own"},
	{`^PullImage auth\.`, "goes to the registry, which judges it"},
	{`^(PullImage|CreateContainer) sandbox_config\.`, "the pod's own configuration is what counts; its names are compared"},
	{`^RunPodSandbox config\.metadata\.(uid|namespace)$`, "may be empty"},
	{`^RunPodSandbox config\.dns_config\.(searches|options)\[0\]$`, "one word of resolv.conf"},
	{`^RunPodSandbox config\.linux\.cgroup_parent$`, "any name is one of a directory"},
	{`^RunPodSandbox config\.linux\.security_context\.(seccomp|apparmor)\.localhost_ref$`, "is for processes, and a pod has none"},
	{`^RunPodSandbox config\.linux\.security_context\.seccomp_profile_path$`, "is for processes, and a pod has none"},
	{`^\w+ config\.linux\.security_context\.selinux_options\.`, "a label's part, where there is SELinux"},
	{`^\w+ .*namespace_options\.target_id$`, "is read with pid TARGET only"},
	{`^\w+ (.*\.)?(oom_score_adj|cpu_quota|cpu_shares|memory_limit_in_bytes|memory_swap_limit_in_bytes|limit)$`, "a large number is no limit"},
	{`^\w+ (.*\.)?cpuset_\w+$`, "empty is not said"},
	{`^\w+ (.*\.)?(hostname|host_ip|runtime_handler|log_directory|log_path|working_dir|run_as_username|apparmor_profile|seccomp_profile_path|permissions|image_sub_path|pod_cidr|localhost_ref)$`, "empty is not said"},
	{`^CreateContainer config\.(command|args)\[0\]$`, "the kernel looks for it at the start"},
	{`^CreateContainer config\.envs\[0\]\.(key|value)$`, "any bytes are a variable but what cannot be one"},
	{`^CreateContainer config\.working_dir$`, "is resolved in the container's root"},
	{`^CreateContainer config\.log_path$`, "any name is one of a file"},
	{`^CreateContainer config\.(mounts|devices)\[0\]\.container_path$`, "is resolved in the container's root"},
	{`^CreateContainer config\.mounts\[0\]\.host_path$`, "the root's own paths are all mountable"},
	{`^CreateContainer config\.linux\.security_context\.(masked|readonly)_paths\[0\]$`, "is resolved in the container's root"},
	{`^CreateContainer config\.linux\.security_context\.apparmor\.localhost_ref$`, "is read with Localhost only"},
	{`^Exec cmd\[0\]$`, "is looked for when the client comes"},
	{`^(StopContainer|ExecSync) timeout$`, "a large number is for ever"},
}

// TestEveryFieldWithEveryBadValue puts each value that is bad for its kind into
// each field of each request. It must be refused with a code that says so and a
// message that names the field, or be known to be harmless; and the node is as it
// was.
func TestEveryFieldWithEveryBadValue(t *testing.T) {
	s := newStage(t)
	before := s.picture()
	free := make([]*regexp.Regexp, len(harmless))
	used := make([]bool, len(harmless))
	for i, h := range harmless {
		free[i] = regexp.MustCompile(h.fields)
	}
	for _, m := range hostile.Methods() {
		t.Run(m.Name, func(t *testing.T) {
			if err := s.call(m.Name, s.base(m.Name)); badCode(err) {
				t.Errorf("as it should be: %v", err)
			}
			for _, f := range m.Fields() {
				for _, v := range hostile.Values(f.Kind) {
					req := s.base(m.Name)
					if err := hostile.Set(req, f.Path, v); err != nil {
						t.Fatal(err)
					}
					err := s.call(m.Name, req)
					what := fmt.Sprintf("%s %s = %.40q", m.Name, f.Path, fmt.Sprint(v))
					if problem := judge(f, v, err); problem != "" {
						t.Errorf("%s: %s: %.300v", what, problem, err)
					}
					if err != nil || !means(f.Kind) {
						continue
					}
					known := false
					for i, r := range free {
						if r.MatchString(m.Name + " " + f.Path) {
							known, used[i] = true, true
						}
					}
					if !known {
						t.Errorf("%s is accepted", what)
					}
				}
			}
			s.same(m.Name, before)
		})
	}
	for i, h := range harmless {
		if !used[i] {
			t.Errorf("%s is never accepted: it need not be listed", h.fields)
		}
	}
}

// means says whether the values of a kind are bad by themselves: a message that
// is missing or empty, or a flag, is so only beside something else.
func means(k protoreflect.Kind) bool {
	return k != protoreflect.MessageKind && k != protoreflect.BoolKind && k != protoreflect.Uint32Kind
}

// judge says what is wrong with an answer, whichever the field is.
func judge(f hostile.Field, v any, err error) string {
	text, _ := v.(string)
	switch {
	case badCode(err):
		return "the code blames nobody"
	case len(fmt.Sprint(err)) > 8<<10:
		return "the message is too long"
	case err == nil && f.Kind == protoreflect.EnumKind:
		return "an unknown value is accepted"
	case err == nil && len(text) > 1<<20:
		return "a long text is accepted"
	case err == nil && strings.Contains(text, "\x00") && !strings.Contains(f.Path, "annotations["):
		return "a NUL is accepted"
	case status.Code(err) == codes.InvalidArgument && means(f.Kind) && !names(err, f.Path):
		return "the message does not name the field"
	}
	return ""
}

// names says whether a message names a field, or what it is a part of where all
// of that is refused.
func names(err error, path string) bool {
	if strings.Contains(err.Error(), path) {
		return true
	}
	for _, end := range []string{".value", "windows", "userns_options", "sandbox_config.metadata", "[" + hostile.MapKey + "]", "[0]"} {
		i := strings.LastIndex(path, end)
		if i < 0 {
			continue
		}
		part := path[:i] // of a value and of an item what holds it, of the others they themselves
		if end[0] != '.' && end[0] != '[' {
			part += end
		}
		if strings.Contains(err.Error(), part) {
			return true
		}
	}
	return false
}

// badCode says whether an error puts the blame on nobody. That a command is not
// there is no fault of the request's form: the CRI has no code for it.
func badCode(err error) bool {
	switch status.Code(err) {
	case codes.OK, codes.InvalidArgument, codes.NotFound, codes.FailedPrecondition, codes.Unimplemented:
		return false
	case codes.Unknown:
		return !strings.Contains(err.Error(), "(exit code 12")
	}
	return true
}
