// Package erofs keeps each layer as one EROFS file that holds the layer's tar
// stream as it came, and joins the layers of an image into one file system.
//
// A layer is written in one pass: the stream goes to the file unchanged while its
// headers are read, and the metadata that makes a file system of it follows at the
// end. The meaning of an archive's entries is that of package unpack. layer.erofs is
//
//	0      nothing but the superblock at 1024
//	4096   the tar stream, every byte, uncompressed: its digest is the diff id
//	       the content of sparse files, whose bodies in the archive are not their
//	       content, without the holes
//	       the metadata: regular files point into what is before
//
// each beginning at a multiple of 4096 but for the bodies, which tar puts at
// multiples of 512, the block size. The file mounts by itself, and layers mounted so
// stack under overlay, but for what a layer cannot know alone. That is marked and
// settled in stack.erofs, the metadata of all layers of an image joined, with a
// device for each layer: directories that the archive did not describe
// (trusted.varve.implicit) take the attributes of the layer below, and hard links to
// files of other layers (trusted.varve.link) their inodes.
//
// The tree of a layer is in memory while it is written, about 110 bytes an entry,
// and so is the joined tree; the file system may grow to 2^32 blocks, 2 TiB.
//
// A stack is one EROFS mount of plain files, detached, in no mount table, and shared
// by all who mount the stack; each of them gets an overlay over it. That wants Linux
// 6.12 for the plain files; before 6.15, where overlay takes no detached mount, they
// are attached in a namespace of their own. New tries it.
// The package does not decide where a layer or a stack lies, nor when it goes.
package erofs
