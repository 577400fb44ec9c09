package node

import (
	"os"
	"strconv"
	"time"
)

// patienceFactor is the environment variable by which slow machines (a guest
// without hardware behind it, hack/guest.sh) have every wait multiplied.
const patienceFactor = "VARVE_E2E_PATIENCE"

// Patience is how long to wait on this machine for what takes at most d on an
// ordinary one.
func Patience(d time.Duration) time.Duration {
	if n, err := strconv.Atoi(os.Getenv(patienceFactor)); err == nil && n > 1 {
		return d * time.Duration(n)
	}
	return d
}
