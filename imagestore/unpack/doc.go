// Package unpack makes a directory tree from a layer's tar stream, with whiteouts
// in overlay's form.
//
// No path of the archive is ever resolved by name from the host: parents are
// opened with openat2 inside the root and kept in a small cache of descriptors,
// and the last component is used with calls that do not follow links
// (CVE-2021-32760, CVE-2025-47290). What would climb out is an error, and nothing
// outside the root is touched.
//
// A name that begins with "/" is taken from the layer's root and is no error: it
// cannot climb out, and archives with such names are meant that way.
//
// The tree must belong to the caller alone while it is made. The package does not
// sync, does not mount, and runs no other program.
package unpack
