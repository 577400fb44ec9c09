// Package testimage makes OCI images out of nothing but this repository: a
// layer is a list of files, a program is a Go package of the repository built
// as a static binary. Images are values in memory; package testregistry
// serves them. It knows nothing of varve.
package testimage
