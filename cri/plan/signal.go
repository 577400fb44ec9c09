package plan

import (
	"strconv"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/fault"
	"github.com/varve-cri/varve/cri/signal"
)

// stopSignal chooses: the request's, else the image's, else SIGTERM.
func stopSignal(config *runtimeapi.ContainerConfig, image string) (signal.Signal, string, error) {
	if s := config.GetStopSignal(); s != runtimeapi.Signal_SIGNAL_RUNTIME_DEFAULT {
		sig, ok := signal.FromCRI(s)
		if !ok {
			return signal.Signal{}, "", fault.Invalid("config.stop_signal", "%d is not a signal", s)
		}
		return sig, "", nil
	}
	if image == "" {
		return signal.Default, "", nil
	}
	if sig, ok := signal.ByName(image); ok {
		return sig, "", nil
	}
	// The image's word is not the user's: an odd one must not keep the
	// container from running.
	return signal.Default, "image's stop signal " + strconv.Quote(image) + " is not a signal: SIGTERM instead", nil
}
