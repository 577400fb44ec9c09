// Package gunzip reads gzip (RFC 1952) into big buffers, in less than half the
// time that a reader for all purposes takes: it decodes straight into the caller's
// memory instead of a window that is then copied, eight bytes of input at a time.
// To inflate is most of the work of pulling an image.
//
// It takes what compress/gzip takes, members one after the other included, and
// refuses what that refuses. It does not write gzip, has no dictionaries, and gives
// no headers. Small reads are slow: it is for buffers of at least 64 KiB.
package gunzip
