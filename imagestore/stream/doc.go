// Package stream has the stages through which a layer's bytes flow once: verify
// what the network sent, inflate it, digest what came out, and buffers between
// the stages, so that each can be on its own processor.
//
// A stage knows nothing of files or registries, and no stage keeps the bytes.
package stream
