// Package erofs keeps each layer as one EROFS file that holds the layer's tar
// stream as it came, and joins the layers of an image into one file system.
//
// A layer is written in one pass: the stream goes to the file unchanged while its
// headers are read, and the metadata that makes a file system of it follows at the
// end. The meaning of an archive's entries is that of package unpack.
package erofs
