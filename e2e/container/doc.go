// Package container tests containers on a real node: what a program sees of its
// mounts, rights, limits and streams, and what CRI says of it. It has no code
// but tests.
package container
