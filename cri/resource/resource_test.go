package resource

import (
	"math"
	"testing"

	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

type limits = runtimeapi.LinuxContainerResources

func pages(size string, limit uint64) *runtimeapi.HugepageLimit {
	return &runtimeapi.HugepageLimit{PageSize: size, Limit: limit}
}

func TestMerge(t *testing.T) {
	full := func() *limits {
		return &limits{
			CpuPeriod: 100000, CpuQuota: 50000, CpuShares: 512, MemoryLimitInBytes: 64, MemorySwapLimitInBytes: 96, OomScoreAdj: 900,
			CpusetCpus: "0", CpusetMems: "0", HugepageLimits: []*runtimeapi.HugepageLimit{pages("2MB", 4), pages("1GB", 0)},
			Unified: map[string]string{"memory.high": "60", "memory.min": "1"},
		}
	}
	for name, tc := range map[string]struct{ have, want, after *limits }{
		"nothing over nothing": {nil, nil, &limits{}},
		"nothing":              {full(), &limits{}, full()},
		"all over nothing":     {nil, full(), full()},
		"quota away":           {&limits{CpuQuota: 5000, CpuPeriod: 100000}, &limits{CpuQuota: -1}, &limits{CpuQuota: -1, CpuPeriod: 100000}},
		"swap stays beside":    {full(), &limits{MemoryLimitInBytes: 128}, with(full(), func(r *limits) { r.MemoryLimitInBytes, r.MemorySwapLimitInBytes = 128, 160 })},
		"swap beside less":     {full(), &limits{MemoryLimitInBytes: 16}, with(full(), func(r *limits) { r.MemoryLimitInBytes, r.MemorySwapLimitInBytes = 16, 48 })},
		"no swap stays none":   {&limits{MemoryLimitInBytes: 64, MemorySwapLimitInBytes: 64}, &limits{MemoryLimitInBytes: 32}, &limits{MemoryLimitInBytes: 32, MemorySwapLimitInBytes: 32}},
		"unsaid swap":          {&limits{MemoryLimitInBytes: 64}, &limits{MemoryLimitInBytes: 32}, &limits{MemoryLimitInBytes: 32}},
		"any swap":             {&limits{MemoryLimitInBytes: 64, MemorySwapLimitInBytes: -1}, &limits{MemoryLimitInBytes: 32}, &limits{MemoryLimitInBytes: 32, MemorySwapLimitInBytes: -1}},
		"memory away":          {full(), &limits{MemoryLimitInBytes: -1}, with(full(), func(r *limits) { r.MemoryLimitInBytes, r.MemorySwapLimitInBytes = -1, -1 })},
		"both said":            {full(), &limits{MemoryLimitInBytes: 32, MemorySwapLimitInBytes: 33}, with(full(), func(r *limits) { r.MemoryLimitInBytes, r.MemorySwapLimitInBytes = 32, 33 })},
		"pages by size": {
			full(), &limits{HugepageLimits: []*runtimeapi.HugepageLimit{pages("1GB", 7), pages("64KB", 1)}},
			with(full(), func(r *limits) {
				r.HugepageLimits = []*runtimeapi.HugepageLimit{pages("2MB", 4), pages("1GB", 7), pages("64KB", 1)}
			}),
		},
		"keys by name": {
			full(), &limits{Unified: map[string]string{"memory.high": "max", "memory.low": "2"}},
			with(full(), func(r *limits) {
				r.Unified = map[string]string{"memory.high": "max", "memory.min": "1", "memory.low": "2"}
			}),
		},
	} {
		before := proto.CloneOf(tc.have)
		if got := Merge(tc.have, tc.want); !proto.Equal(got, tc.after) {
			t.Errorf("%s: got %v, want %v", name, got, tc.after)
		}
		if tc.have != nil && !proto.Equal(before, tc.have) {
			t.Errorf("%s: what applied was changed in place", name)
		}
	}
}

func with(r *limits, change func(*limits)) *limits {
	change(r)
	return r
}

func TestPod(t *testing.T) {
	for name, tc := range map[string]struct{ resources, overhead, want *limits }{
		"nothing":       {nil, nil, &limits{}},
		"overhead only": {nil, &limits{MemoryLimitInBytes: 10, CpuQuota: 5000, CpuPeriod: 100000}, &limits{}},
		"sum": {
			&limits{MemoryLimitInBytes: 64, CpuQuota: 50000, CpuPeriod: 100000, CpuShares: 512, OomScoreAdj: 3, CpusetCpus: "0", HugepageLimits: []*runtimeapi.HugepageLimit{pages("2MB", 4)}},
			&limits{MemoryLimitInBytes: 16, CpuQuota: 25000, CpuPeriod: 100000, CpuShares: 256, HugepageLimits: []*runtimeapi.HugepageLimit{pages("2MB", 2), pages("1GB", 1)}},
			&limits{MemoryLimitInBytes: 80, MemorySwapLimitInBytes: 80, CpuQuota: 75000, CpuPeriod: 100000, CpuShares: 768, CpusetCpus: "0", HugepageLimits: []*runtimeapi.HugepageLimit{pages("2MB", 6), pages("1GB", 1)}},
		},
		"periods":         {&limits{CpuQuota: 10000, CpuPeriod: 50000}, &limits{CpuQuota: 20000}, &limits{CpuQuota: 20000, CpuPeriod: 50000}},
		"no limit less":   {&limits{CpuQuota: -25001, CpuPeriod: 100000, MemoryLimitInBytes: -17}, &limits{CpuQuota: 25000, CpuPeriod: 100000, MemoryLimitInBytes: 16}, &limits{CpuQuota: -1, CpuPeriod: 100000, MemoryLimitInBytes: -1}},
		"too small alone": {&limits{CpuQuota: 500, CpuPeriod: 100000}, nil, &limits{CpuQuota: 1000, CpuPeriod: 100000}},
		"too large":       {&limits{MemoryLimitInBytes: math.MaxInt64 - 1, CpuShares: 262144}, &limits{MemoryLimitInBytes: 5, CpuShares: 5}, &limits{MemoryLimitInBytes: math.MaxInt64, MemorySwapLimitInBytes: math.MaxInt64, CpuShares: 262144}},
		"swap":            {&limits{MemoryLimitInBytes: 10, MemorySwapLimitInBytes: 15}, &limits{MemoryLimitInBytes: 1}, &limits{MemoryLimitInBytes: 11, MemorySwapLimitInBytes: 16}},
	} {
		if got := Pod(tc.resources, tc.overhead, 0); !proto.Equal(got, tc.want) {
			t.Errorf("%s: got %v, want %v", name, got, tc.want)
		}
	}
}

// What the containers were given of swap counts where the pod has a limit of
// memory and says nothing of swap itself.
func TestPodSwap(t *testing.T) {
	overhead := &limits{MemoryLimitInBytes: 4}
	for name, tc := range map[string]struct {
		resources *limits
		swap      int64
		want      int64 // memory and swap
	}{
		"no memory limit": {nil, 7, 0},
		"no swap":         {&limits{MemoryLimitInBytes: 64}, 0, 68},
		"some":            {&limits{MemoryLimitInBytes: 64}, 7, 75},
		"any":             {&limits{MemoryLimitInBytes: 64}, Unlimited, -1},
		"too much":        {&limits{MemoryLimitInBytes: 64}, math.MaxInt64, math.MaxInt64},
		"any memory":      {&limits{MemoryLimitInBytes: -1}, 7, 0},
		"said":            {&limits{MemoryLimitInBytes: 64, MemorySwapLimitInBytes: 65}, 7, 69},
		"any said":        {&limits{MemoryLimitInBytes: 64, MemorySwapLimitInBytes: -1}, 7, -1},
	} {
		if got := Pod(tc.resources, overhead, tc.swap).GetMemorySwapLimitInBytes(); got != tc.want {
			t.Errorf("%s: %d, want %d", name, got, tc.want)
		}
	}
}
