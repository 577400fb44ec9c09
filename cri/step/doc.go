// Package step runs an operation as a list of steps: each with something to
// do and something to undo. It times every step, undoes backwards on an error
// and can say at any moment which step each running operation is in.
//
// What it does not do: it does not persist anything (what must outlive a crash
// is a duty in the record, written by a step of its own), it does not retry,
// and it does not run steps side by side.
package step
