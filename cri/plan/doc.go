// Package plan turns CRI requests into what is to be done: a PodPlan, a
// ContainerPlan with the OCI spec. Everything in it is a pure function of its arguments: what depends
// on the kernel or the host comes in as a value (Host), so that every decision
// can be tested with golden files and without root.
//
// It opens no file, makes no system call and changes no argument. Paths that it
// plans are looked at by who carries the plan out: ContainerPlan.Sources lists
// those of the host.
package plan
