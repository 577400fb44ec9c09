package record

import "tags.cncf.io/container-device-interface/specs-go"

// Edits is what a CDI device does to its container, or what all devices of one
// kind have in common. It is kept as it was found when the container was made:
// the specification may be gone when the container is started, or when the
// daemon comes back and somebody executes something in it.
type Edits struct {
	From string `json:"from"` // "vendor.com/class=name", or "vendor.com/class"
	specs.ContainerEdits
}
