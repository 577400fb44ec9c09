// Package testregistry is a registry on this machine for tests and the quick
// start: the protocol is go-containerregistry's, and what can go wrong with a
// registry (refusals, rate limits, slowness, torn and altered blobs, another
// server's token) is switched on per repository. It is not for real use: it
// keeps everything in memory.
package testregistry
