// Package scrub says when and how fast a store reads its layers again: all of them
// once a week, soon after a machine went down with the store open, and never faster
// than a rate.
//
// It reads nothing itself and knows nothing of layers: what a check is, and what is
// done with what it finds, is its caller's.
package scrub
