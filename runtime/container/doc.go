// Package container carries out a plan: it makes a container's space and
// starts its first process, and it starts further processes in it.
//
// A Space is a mount namespace that holds nothing of the host's mount table,
// made before there is work. Start fills it by file descriptor and forks the
// payload by a program of raw system calls (package program). The caller
// becomes the parent of what Start and Exec make: it must reap by the
// returned pidfd, and should be a child subreaper.
//
// With a user namespace all is made with the host's rights, but as its root, whom
// the root mount must know; the child joins it at the end, with a copy of the mount
// namespace that belongs to it and in which every mount is locked. The PID
// namespace stays the host's: what owns it may mount procfs for it, and it is no
// use inside but for that (a PID namespace made in the container is as any other).
//
// The package decides nothing that the plan does not say, writes no record,
// watches nothing, and does not clean cgroups. It changes neither the caller's
// namespaces, directory nor mask: what must change does so on threads of its
// own that are thrown away. It sets PR_SET_DUMPABLE 0 for the whole process,
// because until execve the child is a copy of it (CVE-2016-9962). That does not
// hold off who has CAP_SYS_PTRACE and sees the child. So a start in a PID namespace
// in which others are already, and an exec that is not ExecOptions.Private, have all
// the work done by a child outside of that namespace, which then makes the process
// inside. Until its execve that one has the descriptors and rights of the container,
// a copy of the caller's memory, and the pipe on which it tells of an error. A seccomp
// filter without no_new_privs must allow the clone.
//
// procfs of another PID namespace is mounted from outside since Linux 6.17. Before, a
// process of that namespace opens it, which is seen there with CAP_SYS_ADMIN, but has
// no call to use it (program.Procfs).
package container
