// Package serial keeps operations on one object out of each other's way: a Lock
// for those that must follow one another, a Joint for those that are the same
// and share one run.
//
// It knows nothing of pods and containers, and nothing of steps: what runs, and
// what its error says, is the caller's.
package serial
