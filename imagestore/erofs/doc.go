// Package erofs writes, reads and merges the metadata of EROFS file systems whose
// file data lies elsewhere: in the same file before the metadata, or in other
// files named by the device table.
//
// A Tree is the whole of a file system's names and inodes in memory, about 120
// bytes an entry. Write puts it behind the data with a superblock, and the kernel
// mounts the file as it is (Linux 6.12 without a loop device). Join reads the
// metadata of several layers and makes the one tree that overlay would show for
// them.
//
// The block size is 512, so that bodies of a tar archive can be used where they
// lie. Only what Write makes can be read: extended inodes, uncompressed data in
// chunks, one for a whole file unless it is sparse. The package does not compress or deduplicate data, does not
// mount, and knows neither archives nor the store.
//
// The format is Documentation/filesystems/erofs.rst and fs/erofs/erofs_fs.h of the
// kernel.
package erofs
