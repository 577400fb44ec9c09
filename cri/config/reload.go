package config

import (
	"reflect"
	"slices"
	"strings"
)

// reloadable are the fields that a running daemon can take over, and how.
var reloadable = map[string]func(to, from *Config){
	"log.verbosity":               func(to, from *Config) { to.Log.Verbosity = from.Log.Verbosity },
	"log.maxLineBytes":            func(to, from *Config) { to.Log.MaxLineBytes = from.Log.MaxLineBytes },
	"images.registries":           func(to, from *Config) { to.Images.Registries = from.Images.Registries },
	"images.registryConfigDirs":   func(to, from *Config) { to.Images.RegistryConfigDirs = from.Images.RegistryConfigDirs },
	"images.dockerConfig":         func(to, from *Config) { to.Images.DockerConfig = from.Images.DockerConfig },
	"images.credentialHelperDirs": func(to, from *Config) { to.Images.CredentialHelperDirs = from.Images.CredentialHelperDirs },
	"images.pinned":               func(to, from *Config) { to.Images.Pinned = from.Images.Pinned },
	"runtime.handlers":            func(to, from *Config) { to.Runtime.Handlers = from.Runtime.Handlers },
	"limits.restrictOOMScoreAdj":  func(to, from *Config) { to.Limits.RestrictOOMScoreAdj = from.Limits.RestrictOOMScoreAdj },
	"limits.restrictRlimits":      func(to, from *Config) { to.Limits.RestrictRlimits = from.Limits.RestrictRlimits },
	"limits.restrictCapabilities": func(to, from *Config) { to.Limits.RestrictCapabilities = from.Limits.RestrictCapabilities },
	"limits.rlimits":              func(to, from *Config) { to.Limits.Rlimits = from.Limits.Rlimits },
	"limits.shmBytes":             func(to, from *Config) { to.Limits.ShmBytes = from.Limits.ShmBytes },
	"seccomp.defaultProfile":      func(to, from *Config) { to.Seccomp.DefaultProfile = from.Seccomp.DefaultProfile },
	"seccomp.unsetProfile":        func(to, from *Config) { to.Seccomp.UnsetProfile = from.Seccomp.UnsetProfile },
	"exec.drainTimeout":           func(to, from *Config) { to.Exec.DrainTimeout = from.Exec.DrainTimeout },
	"exec.maxOutputBytes":         func(to, from *Config) { to.Exec.MaxOutputBytes = from.Exec.MaxOutputBytes },
	"requests.networkTimeout":     func(to, from *Config) { to.Requests.NetworkTimeout = from.Requests.NetworkTimeout },
}

// Reload says what becomes of a daemon that runs with c when its files say next:
// what is in force then, which fields have changed, and which would but need a
// restart. Fields are named as in the files.
func (c *Config) Reload(next *Config) (merged *Config, changed, restart []string) {
	now := *c
	for _, field := range changes("", reflect.ValueOf(c).Elem(), reflect.ValueOf(next).Elem()) {
		if take, ok := reloadable[field]; ok {
			take(&now, next)
			changed = append(changed, field)
		} else {
			restart = append(restart, field)
		}
	}
	slices.Sort(changed)
	slices.Sort(restart)
	return &now, changed, restart
}

// changes names the fields in which two configurations differ, structs field by
// field and everything else as a whole.
func changes(path string, a, b reflect.Value) []string {
	if a.Kind() != reflect.Struct {
		if reflect.DeepEqual(a.Interface(), b.Interface()) {
			return nil
		}
		return []string{path}
	}
	var found []string
	for i := range a.NumField() {
		name, _, _ := strings.Cut(a.Type().Field(i).Tag.Get("json"), ",")
		found = append(found, changes(join(path, name), a.Field(i), b.Field(i))...)
	}
	return found
}
