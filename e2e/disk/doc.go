// Package disk gives tests a disk that remembers every write.
//
// Record makes a block device whose writes and flushes are logged in the order in
// which they arrive; a Log can then say what the disk could have held if the power
// had gone at any moment: everything before the last flush, and any part of what
// came after it. Plain makes a block device of memory, for such an image or for a
// small disk that is to be filled. Mount gives the file system on a device as a
// detached mount.
//
// Nothing is in any mount table and nothing has a name, so that all of it goes with
// the process, however that ends. The recorder is a FUSE file below a loop device,
// served by a process of its own: a file server in the process that uses the disk
// could not be killed while that process is being torn down.
//
// It is for tests, as root, on a kernel with FUSE, loop devices and ext4. It does not
// reorder what lies between two flushes by itself, and it does not model a disk that
// lies about flushes.
package disk
