// Package fd keeps plain file descriptors: they are cheaper than os.File on
// the start path, which opens some fifty of them, and they are what the
// child's program takes.
package fd
