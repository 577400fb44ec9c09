package view

import (
	"strings"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/fault"
	"github.com/varve-cri/varve/cri/record"
)

// CheckPodFilter refuses a state that no pod can be in: an empty list would read
// as "there is none".
func CheckPodFilter(f *runtimeapi.PodSandboxFilter) error {
	if _, ok := runtimeapi.PodSandboxState_name[int32(f.GetState().GetState())]; !ok {
		return fault.Invalid("filter.state.state", "%d is not known", f.GetState().GetState())
	}
	return nil
}

// CheckContainerFilter is CheckPodFilter for containers.
func CheckContainerFilter(f *runtimeapi.ContainerFilter) error {
	if _, ok := runtimeapi.ContainerState_name[int32(f.GetState().GetState())]; !ok {
		return fault.Invalid("filter.state.state", "%d is not known", f.GetState().GetState())
	}
	return nil
}

// MatchPod says whether a pod passes a filter: every field that is set must
// match. An id may be a prefix.
func MatchPod(f *runtimeapi.PodSandboxFilter, p *record.Pod) bool {
	return strings.HasPrefix(p.ID, f.GetId()) &&
		(f.GetState() == nil || f.GetState().GetState() == PodState(p)) &&
		MatchLabels(f.GetLabelSelector(), p.Config.GetLabels())
}

// MatchContainer says whether a container passes a filter, as MatchPod.
func MatchContainer(f *runtimeapi.ContainerFilter, c *record.Container) bool {
	return strings.HasPrefix(c.ID, f.GetId()) &&
		strings.HasPrefix(c.PodID, f.GetPodSandboxId()) &&
		(f.GetState() == nil || f.GetState().GetState() == ContainerState(c)) &&
		MatchLabels(f.GetLabelSelector(), c.Config.GetLabels())
}

// MatchContainerStats says whether a container's figures are asked for.
func MatchContainerStats(f *runtimeapi.ContainerStatsFilter, c *record.Container) bool {
	return strings.HasPrefix(c.ID, f.GetId()) &&
		strings.HasPrefix(c.PodID, f.GetPodSandboxId()) &&
		MatchLabels(f.GetLabelSelector(), c.Config.GetLabels())
}

// MatchPodStats says whether a pod's figures are asked for.
func MatchPodStats(f *runtimeapi.PodSandboxStatsFilter, p *record.Pod) bool {
	return strings.HasPrefix(p.ID, f.GetId()) && MatchLabels(f.GetLabelSelector(), p.Config.GetLabels())
}

// MatchLabels says whether labels hold every pair of the selector.
func MatchLabels(selector, labels map[string]string) bool {
	for k, want := range selector {
		if have, ok := labels[k]; !ok || have != want {
			return false
		}
	}
	return true
}

// MatchImage says whether an image, known by its id, tags and digests, is the
// one that a filter names. A name without a tag means "latest", as in a pull;
// short names ("busybox") are those of docker.io/library.
func MatchImage(f *runtimeapi.ImageFilter, id string, tags, digests []string) bool {
	name := f.GetImage().GetImage()
	if name == "" {
		return true
	}
	if hex := strings.TrimPrefix(id, "sha256:"); name == id || len(name) >= 4 && strings.HasPrefix(hex, strings.TrimPrefix(name, "sha256:")) {
		return true
	}
	want := fullName(name)
	for _, list := range [][]string{tags, digests} {
		for _, have := range list {
			if have == name || fullName(have) == want {
				return true
			}
		}
	}
	return false
}

// fullName spells a reference out: registry, repository, tag or digest. Of a
// name with both, the digest is what counts.
func fullName(name string) string {
	repo, digest, hasDigest := strings.Cut(name, "@")
	tag := ""
	if slash, colon := strings.LastIndexByte(repo, '/'), strings.LastIndexByte(repo, ':'); colon > slash {
		repo, tag = repo[:colon], repo[colon:]
	}
	host, rest, ok := strings.Cut(repo, "/")
	switch {
	case !ok:
		repo = "docker.io/library/" + repo
	case !strings.ContainsAny(host, ".:") && host != "localhost":
		repo = "docker.io/" + repo
	case host == "index.docker.io":
		repo = "docker.io/" + rest
	}
	switch {
	case hasDigest:
		return repo + "@" + digest
	case tag == "":
		tag = ":latest"
	}
	return repo + tag
}
