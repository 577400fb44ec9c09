package namespace

import "errors"

// Spec says which namespaces a pod gets of its own and what is set in them.
type Spec struct {
	Net, IPC, UTS bool
	// Hostname is set in the new UTS namespace; it needs UTS.
	Hostname string
	// Sysctls are written in the new namespaces; CheckSysctl says which are allowed.
	Sysctls map[string]string
}

// Pins is a directory with pinned namespaces: the files net, ipc and uts.
type Pins struct{ Dir string }

// Net returns the path of the pinned network namespace.
func (p Pins) Net() string { return p.Dir + "/net" }

// IPC returns the path of the pinned IPC namespace.
func (p Pins) IPC() string { return p.Dir + "/ipc" }

// UTS returns the path of the pinned UTS namespace.
func (p Pins) UTS() string { return p.Dir + "/uts" }

// Pin makes the namespaces that s asks for and pins them in dir, which it makes
// with mode 0700 (the directory above must exist). The loopback device of a new
// network namespace is up. On an error nothing is left.
func Pin(dir string, s Spec) error { return errors.ErrUnsupported }

// Unpin lets go of everything pinned in dir and removes dir. It is idempotent,
// and also cleans up after a Pin that was killed half-way.
func Unpin(dir string) error { return errors.ErrUnsupported }

// CheckSysctl says whether a container may set key, given what s gives it of
// its own. The error names the key and the reason.
func CheckSysctl(key, value string, s Spec) error { return errors.ErrUnsupported }

// List returns the names ("net", "ipc", "uts") that are pinned in dir.
func List(dir string) ([]string, error) { return nil, errors.ErrUnsupported }

// Check says whether path is a pinned namespace of the type that its name says.
func Check(path string) error { return errors.ErrUnsupported }
