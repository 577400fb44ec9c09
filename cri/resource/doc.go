// Package resource does the arithmetic of the CRI's resources: what applies
// after an update, and what a pod's cgroup is limited to.
//
// It checks nothing and touches nothing: whether values make sense is said by
// cri/plan, and the kernel is written to by runtime/cgroup. In all messages 0,
// "" and an absent key are "not said".
package resource
