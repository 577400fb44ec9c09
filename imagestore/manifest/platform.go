package manifest

import (
	"fmt"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Choose picks the index's entry that runs best on the platform: the same
// architecture and variant, else the next older variant, else a 32-bit sibling.
// An entry without a platform is the last resort.
func Choose(index *ocispec.Index, want ocispec.Platform) (ocispec.Descriptor, error) {
	best, rank := -1, -1
	for i, d := range index.Manifests {
		r := rankOf(d.Platform, want)
		if r >= 0 && (rank < 0 || r < rank) {
			best, rank = i, r
		}
	}
	if best < 0 {
		return ocispec.Descriptor{}, fmt.Errorf("%w %s: the index has %s", ErrPlatform, platformName(want), offered(index))
	}
	return index.Manifests[best], nil
}

// CheckPlatform refuses a config that is for another platform. A config that
// names none is taken as it is: images made by small tools have none.
func CheckPlatform(c ocispec.Image, want ocispec.Platform) error {
	if c.OS == "" && c.Architecture == "" {
		return nil
	}
	has := c.Platform
	if has.OS == "" {
		has.OS = want.OS
	}
	if rankOf(&has, want) < 0 {
		return fmt.Errorf("%w %s: the image is for %s", ErrPlatform, platformName(want), platformName(has))
	}
	return nil
}

// lastResort is the rank of entries that do not say what they are for.
const lastResort = 1000

// rankOf is 0 for the best match, more for worse ones, -1 for none.
func rankOf(has *ocispec.Platform, want ocispec.Platform) int {
	if has == nil || has.Architecture == "" {
		return lastResort
	}
	if has.OS != want.OS {
		return -1
	}
	for rank, candidate := range runnable(want) {
		if has.Architecture == candidate.Architecture && variant(*has) == candidate.Variant {
			return rank
		}
	}
	return -1
}

// runnable lists what a platform runs, best first.
func runnable(p ocispec.Platform) []ocispec.Platform {
	v := variant(p)
	switch p.Architecture {
	case "amd64":
		return append(downTo("amd64", v, "v4", "v3", "v2", ""), ocispec.Platform{Architecture: "386"})
	case "arm64":
		all := downTo("arm64", v, "v9", "")
		return append(all, downTo("arm", "v8", "v8", "v7", "v6", "v5")...)
	case "arm":
		return downTo("arm", v, "v8", "v7", "v6", "v5")
	}
	return []ocispec.Platform{{Architecture: p.Architecture, Variant: v}}
}

// downTo gives the variants from first on; all of them unknown, only first.
func downTo(architecture, first string, variants ...string) []ocispec.Platform {
	var list []ocispec.Platform
	for _, v := range variants {
		if v == first || len(list) > 0 {
			list = append(list, ocispec.Platform{Architecture: architecture, Variant: v})
		}
	}
	if len(list) == 0 {
		list = append(list, ocispec.Platform{Architecture: architecture, Variant: first})
	}
	return list
}

// variant spells the default variants in one way: amd64/v1 and arm64/v8 are the
// bare architecture, arm without variant is v7.
func variant(p ocispec.Platform) string {
	switch {
	case p.Architecture == "amd64" && p.Variant == "v1",
		p.Architecture == "arm64" && (p.Variant == "v8" || p.Variant == "8"):
		return ""
	case p.Architecture == "arm" && p.Variant == "":
		return "v7"
	}
	return p.Variant
}

func platformName(p ocispec.Platform) string {
	name := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		name += "/" + p.Variant
	}
	return name
}

// offered lists the platforms of an index for the message, not more than eight.
func offered(index *ocispec.Index) string {
	var names []string
	for _, d := range index.Manifests {
		if d.Platform != nil && d.Platform.OS != "unknown" {
			names = append(names, platformName(*d.Platform))
		}
	}
	if len(names) > 8 {
		names = append(names[:8], "…")
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
