// Package trash takes directories out of sight at once and deletes them in the
// background, one at a time and big files in steps, so that a removal is quick and
// does not take the disk from the containers. It keeps a reserve of room with which a
// full disk can still be cleaned up.
//
// It does not know what it deletes, and decides nothing: what is put there is gone.
package trash
