package record

// StateError is an event that the object's state does not allow.
type StateError struct {
	Kind  string // "pod" or "container"
	ID    string
	Verb  string // what was asked, so that "cannot <verb>" reads well
	State string
}

// Error names the object, the event and the state.
func (e *StateError) Error() string {
	return e.Kind + " " + e.ID + " cannot " + e.Verb + " while " + e.State
}

func podStateError(p *Pod, verb string) error {
	return &StateError{Kind: "pod", ID: p.ID, Verb: verb, State: string(p.State)}
}

func containerStateError(c *Container, verb string) error {
	return &StateError{Kind: "container", ID: c.ID, Verb: verb, State: string(c.State)}
}
