// Package seccomp compiles OCI seccomp profiles to classic BPF programs, in
// pure Go.
//
// Compile is a pure function: the same profile gives the same bytes on every
// machine. It follows libseccomp where the OCI specification is silent:
//
//   - names that the architecture does not have are ignored;
//   - a rule without conditions beats every rule with conditions for the same
//     system call, whatever their order; rules with conditions are tried in
//     the profile's order and the first that matches decides;
//   - conditions of one rule are joined by "and", but when two of them look at
//     the same argument each becomes a rule of its own ("or");
//   - a system call made through an architecture that the profile does not
//     list kills the thread, and so does the x32 ABI when x32 is not listed.
//
// One thing follows runc instead: where the default action is an errno other
// than ENOSYS, a number above the highest one that this build has a name for
// gets ENOSYS, so that a C library newer than the profile falls back
// instead of giving up at EPERM.
//
// The package does not install programs (the process that is to be confined
// does that itself), and it does not talk to notification listeners.
package seccomp
