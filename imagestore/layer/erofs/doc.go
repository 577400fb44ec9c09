// Package erofs keeps each layer as one EROFS file that holds the layer's tar
// stream as it came, and joins the layers of an image into one file system.
//
// A layer is written in one pass: the stream goes to the file unchanged while its
// headers are read, and the metadata that makes a file system of it follows at the
// end. The meaning of an archive's entries is that of package unpack.
//
// A stack is one EROFS mount of plain files, detached, in no mount table, and shared
// by all who mount the stack; each of them gets an overlay over it. That wants Linux
// 6.12 for the plain files, and 6.15 for overlay over a detached mount; New tries it.
// The package does not decide where a layer or a stack lies, nor when it goes.
package erofs
