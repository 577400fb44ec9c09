// Package spool keeps the compressed bytes of big blobs while they stream by, so
// that a pull that broke off, with the daemon or with the machine, need not fetch
// them again.
//
// For each blob there are two files: the bytes from some offset on, and a ledger
// with a checksum for each chunk of them. Neither is ever synced, so after a power
// cut both may hold anything: what is given back ends before the first chunk that
// its checksum does not fit, and who reads it digests it all the same. Losing a
// spool loses time and nothing else, so every error here ends one spool and no
// pull.
//
// It knows no registries and no layers, and verifies no digest.
package spool
