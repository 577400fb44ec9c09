package resource

import (
	"math"
	"testing"
)

func TestSwap(t *testing.T) {
	v2 := func(text string) *limits {
		return &limits{MemoryLimitInBytes: 64, Unified: map[string]string{"memory.swap.max": text}}
	}
	for name, tc := range map[string]struct {
		r    *limits
		want int64
	}{
		"nothing":             {nil, 0},
		"memory alone":        {&limits{MemoryLimitInBytes: 64}, 0},
		"none":                {&limits{MemoryLimitInBytes: 64, MemorySwapLimitInBytes: 64}, 0},
		"some":                {&limits{MemoryLimitInBytes: 64, MemorySwapLimitInBytes: 96}, 32},
		"any":                 {&limits{MemoryLimitInBytes: 64, MemorySwapLimitInBytes: -1}, Unlimited},
		"memory without end":  {&limits{MemoryLimitInBytes: -1}, 0},
		"v2 bytes":            {v2("4096\n"), 4096},
		"v2 suffix":           {v2("3M"), 3 << 20},
		"v2 small suffix":     {v2("2g"), 2 << 30},
		"v2 hexadecimal":      {v2("0x10"), 16},
		"v2 max":              {v2("max"), Unlimited},
		"v2 before the CRI's": {&limits{MemoryLimitInBytes: 64, MemorySwapLimitInBytes: 96, Unified: map[string]string{"memory.swap.max": "0"}}, 0},
		"v2 too much":         {v2("9223372036854775807K"), math.MaxInt64},
		"v2 nonsense":         {v2("lots"), 0},
		"v2 nothing":          {v2(""), 0},
		"v2 below zero":       {v2("-1"), 0},
	} {
		if got := Swap(tc.r); got != tc.want {
			t.Errorf("%s: %d, want %d", name, got, tc.want)
		}
	}
}

func TestSwapTogether(t *testing.T) {
	for _, tc := range []struct{ a, b, sum int64 }{
		{0, 0, 0}, {1, 2, 3}, {Unlimited, 5, Unlimited}, {5, Unlimited, Unlimited}, {math.MaxInt64 - 1, 5, math.MaxInt64},
	} {
		if got := AddSwap(tc.a, tc.b); got != tc.sum {
			t.Errorf("%d and %d: %d", tc.a, tc.b, got)
		}
	}
	for _, tc := range []struct {
		a, b int64
		want bool
	}{{0, 0, false}, {1, 0, true}, {0, 1, false}, {Unlimited, 5, true}, {5, Unlimited, false}, {Unlimited, Unlimited, false}} {
		if got := MoreSwap(tc.a, tc.b); got != tc.want {
			t.Errorf("%d is more than %d: %v", tc.a, tc.b, got)
		}
	}
}
