package resource

import (
	"math"
	"strconv"
	"strings"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Unlimited is a container's swap without a bound.
const Unlimited = -1

// Swap returns how many bytes of swap a container was given by name, beside its
// memory: in the CRI's own field or as a v2 file. It is Unlimited without a bound and 0
// when there is none, or no word of it.
func Swap(r *runtimeapi.LinuxContainerResources) int64 {
	if text, said := r.GetUnified()["memory.swap.max"]; said {
		return bytes(strings.TrimSpace(text))
	}
	switch memory, both := r.GetMemoryLimitInBytes(), r.GetMemorySwapLimitInBytes(); {
	case both < 0:
		return Unlimited
	case memory > 0 && both > memory:
		return both - memory
	}
	return 0
}

// AddSwap is the swap of two containers together.
func AddSwap(a, b int64) int64 {
	switch {
	case a == Unlimited || b == Unlimited:
		return Unlimited
	case a > math.MaxInt64-b:
		return math.MaxInt64
	}
	return a + b
}

// MoreSwap says whether a is more than b.
func MoreSwap(a, b int64) bool { return b != Unlimited && (a == Unlimited || a > b) }

// bytes reads a size as the kernel does (lib/cmdline.c, memparse; "max"). What
// it would refuse is 0.
func bytes(text string) int64 {
	if text == "max" {
		return Unlimited
	}
	shift := 0
	if n := len(text); n > 0 {
		if i := strings.IndexByte("KMGTPE", text[n-1]&^0x20); i >= 0 {
			text, shift = text[:n-1], 10*(i+1)
		}
	}
	v, err := strconv.ParseInt(text, 0, 64)
	switch {
	case err != nil || v < 0:
		return 0
	case v > math.MaxInt64>>shift:
		return math.MaxInt64
	}
	return v << shift
}
