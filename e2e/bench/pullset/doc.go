// Package pullset makes the two images whose pull is measured, serves them,
// and does by itself the least work that a pull can be.
//
// The big image is like those that people wait for: twelve layers, 1.1 GiB,
// 77,000 entries, many small files and few big ones, hard links, symbolic
// links, whiteouts and one opaque directory. The small one is a single layer.
// Both are made by a random generator with a fixed seed, so that every machine
// has the same bytes, and kept under the user's cache directory.
//
// The content is made up: words and noise in the proportion that compresses as
// real images do. Nothing in it can be run.
package pullset
