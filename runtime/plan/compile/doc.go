// Package compile turns an OCI runtime-spec into a plan. It is pure: it reads
// no file and asks the kernel nothing, so the same spec always gives the same
// plan.
//
// It takes all of the spec or says what it does not take: a field that varve
// does not carry out is an error that names it, never ignored. The two that
// are carried out elsewhere are linux.resources (package cgroup) and
// linux.seccomp (package seccomp, whose result is an Option). Hooks, new user
// namespaces and sysctls of a container of its own are refused. Of a user namespace
// that exists the plan has the host's ids, but for those that the process takes on
// inside.
package compile
