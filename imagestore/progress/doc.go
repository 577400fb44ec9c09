// Package progress tells how far each pull is: its stage, and for every layer
// the bytes that came, the bytes that were unpacked, the rate and what went
// wrong on the way.
//
// Those who pull count: one atomic addition for each piece of data, and a short
// lock for each change of a stage, of which a layer has five. Those who want to
// know look: they take snapshots, or watch. A watcher is never waited for; one
// that is slow misses states in between and always gets the last one.
//
// It does not start, stop or retry anything, keeps nothing on the disk, and
// forgets all but the last pulls that ended.
package progress
