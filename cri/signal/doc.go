// Package signal knows signals by their numbers on Linux, by the names that images and
// people write, and by those of the CRI. It sends none.
package signal
