// Package image tests images on a real node against a registry that does what
// real ones do wrong. It has no code but tests.
package image
