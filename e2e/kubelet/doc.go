// Package kubelet runs an unmodified kubelet, standalone, on a throw-away node:
// the one client of CRI that counts. The kubelet is built from the nested
// module e2e/kubernetes by hack/kubelet-build.sh. It has no code but tests.
package kubelet
