// Package debt tries again, in the background, what could not be undone at
// once: network detaches that a plugin refused.
//
// It writes nothing down: that a detach is owed is on record before the attach
// (cri/network), and a restart makes the list anew from there.
package debt
