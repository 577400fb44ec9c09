package plan

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/fault"
)

// defaultPath is PATH for containers whose image and request have none.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

func process(in *ContainerInput, p *ContainerPlan) (*specs.Process, error) {
	c := in.Config
	sc := c.GetLinux().GetSecurityContext()
	args, err := arguments(c, in.Image.Entrypoint, in.Image.Cmd)
	if err != nil {
		return nil, err
	}
	env, err := environment(in, p.User.Home)
	if err != nil {
		return nil, err
	}
	cwd, err := workingDir(c.WorkingDir, in.Image.WorkingDir)
	if err != nil {
		return nil, err
	}
	caps, note, err := capabilities(sc, in.Handler, in.Host)
	if err != nil {
		return nil, err
	}
	p.note(note)
	apparmor, err := appArmor(sc, in.Host)
	if err != nil {
		return nil, err
	}
	adj, note, err := OOMScoreAdj("config.linux.resources", c.GetLinux().GetResources(), in.Host)
	if err != nil {
		return nil, err
	}
	p.note(note)
	return &specs.Process{
		Terminal:        c.Tty,
		User:            specs.User{UID: p.User.UID, GID: p.User.GID, AdditionalGids: p.User.Groups},
		Args:            args,
		Env:             env,
		Cwd:             cwd,
		Capabilities:    caps,
		Rlimits:         rlimits(in),
		NoNewPrivileges: sc.GetNoNewPrivs(),
		ApparmorProfile: apparmor,
		OOMScoreAdj:     &adj,
	}, nil
}

// arguments: the request's command replaces the image's entrypoint and its
// command; the request's args alone replace the image's command only.
func arguments(c *runtimeapi.ContainerConfig, entrypoint, cmd []string) ([]string, error) {
	command, args := c.Command, c.Args
	if len(command) == 0 {
		command = entrypoint
		if len(args) == 0 {
			args = cmd
		}
	}
	all := slices.Concat(command, args)
	if len(all) == 0 {
		return nil, fault.Invalid("config.command", "is empty, and so are the image's entrypoint and command")
	}
	if all[0] == "" {
		return nil, fault.Invalid("config.command[0]", "is empty")
	}
	for i, a := range all {
		if strings.Contains(a, "\x00") {
			return nil, fault.Invalid("config.command", "argument %d holds a NUL byte", i)
		}
	}
	return all, nil
}

// environment lays the request's variables over the image's, in that order,
// each name once. Values are bytes, and a newline in one is nothing special but
// in HOME, which other programs write into files (CVE-2022-4318, CVE-2026-15809).
func environment(in *ContainerInput, home string) ([]string, error) {
	env := make([]string, 0, len(in.Image.Env)+len(in.Config.Envs)+4)
	at := make(map[string]int, cap(env))
	put := func(key, pair string) {
		if i, ok := at[key]; ok {
			env[i] = pair
			return
		}
		at[key] = len(env)
		env = append(env, pair)
	}
	for i, pair := range in.Image.Env {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || key == "" {
			continue // an image may hold what no shell could export
		}
		if err := checkEnv(fmt.Sprintf("image config.Env[%d]", i), key, value); err != nil {
			return nil, err
		}
		put(key, pair)
	}
	if _, ok := at["PATH"]; !ok {
		put("PATH", "PATH="+defaultPath)
	}
	if in.Pod.Hostname != "" {
		put("HOSTNAME", "HOSTNAME="+in.Pod.Hostname)
	}
	if in.Config.Tty {
		if _, ok := at["TERM"]; !ok {
			put("TERM", "TERM=xterm")
		}
	}
	for i, kv := range in.Config.Envs {
		field := fmt.Sprintf("config.envs[%d]", i)
		if bytes.IndexByte(kv.GetValue(), 0) >= 0 {
			return nil, fault.Invalid(field+".value", "holds a NUL byte")
		}
		value := string(kv.GetValue())
		if err := checkEnv(field, kv.GetKey(), value); err != nil {
			return nil, err
		}
		put(kv.GetKey(), kv.GetKey()+"="+value)
	}
	if err := editEnv(in.Devices, put); err != nil {
		return nil, err
	}
	if _, ok := at["HOME"]; !ok {
		if strings.ContainsAny(home, "\n\x00") {
			home = "/"
		}
		put("HOME", "HOME="+home)
	}
	return env, nil
}

func checkEnv(field, key, value string) error {
	switch {
	case key == "":
		return fault.Invalid(field+".key", "is empty")
	case strings.ContainsAny(key, "=\x00"):
		return fault.Invalid(field+".key", "%q holds a character that no name has", key)
	case strings.Contains(value, "\x00"):
		return fault.Invalid(field+".value", "holds a NUL byte")
	case key == "HOME" && strings.ContainsAny(value, "\n\r"):
		return fault.Invalid(field+".value", "HOME holds a line break")
	}
	return nil
}

func workingDir(asked, image string) (string, error) {
	field, dir := "config.working_dir", asked
	if dir == "" {
		field, dir = "image config.WorkingDir", image
	}
	if dir == "" {
		return "/", nil
	}
	if strings.Contains(dir, "\x00") {
		return "", fault.Invalid(field, "holds a NUL byte")
	}
	dir = path.Clean("/" + dir)
	// A descriptor is no place to be in: CVE-2024-21626. The runtime closes
	// all before it changes directory; this is the message that says so.
	if strings.HasPrefix(dir, "/proc/self/fd/") || strings.HasPrefix(dir, "/proc/thread-self/fd/") || strings.HasPrefix(dir, "/dev/fd/") {
		return "", fault.Invalid(field, "%q is a file descriptor, not a directory", dir)
	}
	return dir, nil
}

// OOMScoreAdj is always set: what is not asked for is 0, not the daemon's own.
// The note says what the node's limits made of it.
func OOMScoreAdj(field string, r *runtimeapi.LinuxContainerResources, host *Host) (int, string, error) {
	adj := r.GetOomScoreAdj()
	if adj < -1000 || adj > 1000 {
		return 0, "", fault.Invalid(field+".oom_score_adj", "%d is not between -1000 and 1000", adj)
	}
	if host.Restrict.OOMScoreAdj && int(adj) < host.OOMScoreAdj {
		return host.OOMScoreAdj, fmt.Sprintf("oom_score_adj %d raised to the daemon's own %d (limits.restrictOOMScoreAdj)", adj, host.OOMScoreAdj), nil
	}
	return int(adj), "", nil
}

// rlimits are the handler's. Lowering them to what the daemon may give is
// silent here: they come from the configuration, which is looked at once.
func rlimits(in *ContainerInput) []specs.POSIXRlimit {
	out := make([]specs.POSIXRlimit, 0, len(in.Handler.Rlimits))
	for _, name := range slices.Sorted(maps.Keys(in.Handler.Rlimits)) {
		l := in.Handler.Rlimits[name]
		top := uint64(math.MaxUint64)
		if limit, ok := in.Host.Rlimits[name]; ok && in.Host.Restrict.Rlimits {
			top = limit
		}
		out = append(out, specs.POSIXRlimit{
			Type: "RLIMIT_" + strings.ToUpper(name), Soft: min(l.Soft, top), Hard: min(l.Hard, top),
		})
	}
	return out
}
