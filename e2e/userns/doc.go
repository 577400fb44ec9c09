// Package userns tests pods with user namespaces on a real node: who their
// processes are to themselves and to the host, what they may do, and what is left
// of them. It has no code but tests.
package userns
