package record

import "slices"

// DutyKind is what has to be undone.
type DutyKind string

// The kinds of duties, in the order in which they are made.
const (
	DutyNamespaces DutyKind = "namespaces" // unpin the namespaces of the pod's directory
	DutyNetwork    DutyKind = "network"    // CNI DEL
	DutyCgroup     DutyKind = "cgroup"     // remove the cgroup Arg
	DutyPause      DutyKind = "pause"      // kill the pod's pause process
	DutyLayer      DutyKind = "layer"      // remove the read-write layer Arg
	DutyShim       DutyKind = "shim"       // end the shim
)

// Duty is one thing owed to the host. Arg names the object where the id of
// the record does not.
type Duty struct {
	Kind DutyKind `json:"kind"`
	Arg  string   `json:"arg,omitempty"`
}

// Owe writes down a duty; save the record before doing what the duty undoes.
func (p *Pod) Owe(kind DutyKind, arg string) { p.Duties = owe(p.Duties, Duty{kind, arg}) }

// Owes says whether a duty of the kind is open.
func (p *Pod) Owes(kind DutyKind) bool { return owes(p.Duties, kind) }

// Acquit strikes out a duty that is done.
func (p *Pod) Acquit(kind DutyKind, arg string) { p.Duties = acquit(p.Duties, Duty{kind, arg}) }

// Owe writes down a duty; save the record before doing what the duty undoes.
func (c *Container) Owe(kind DutyKind, arg string) { c.Duties = owe(c.Duties, Duty{kind, arg}) }

// Owes says whether a duty of the kind is open.
func (c *Container) Owes(kind DutyKind) bool { return owes(c.Duties, kind) }

// Acquit strikes out a duty that is done.
func (c *Container) Acquit(kind DutyKind, arg string) { c.Duties = acquit(c.Duties, Duty{kind, arg}) }

func owe(list []Duty, d Duty) []Duty {
	if slices.Contains(list, d) {
		return list
	}
	return append(list, d)
}

func owes(list []Duty, kind DutyKind) bool {
	return slices.ContainsFunc(list, func(d Duty) bool { return d.Kind == kind })
}

// acquit copies: the list may be shared with a record that others see.
func acquit(list []Duty, d Duty) []Duty {
	out := make([]Duty, 0, len(list))
	for _, have := range list {
		if have != d {
			out = append(out, have)
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}
