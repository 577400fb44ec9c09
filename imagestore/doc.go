// Package imagestore keeps images, their layers, and the containers'
// read-write layers.
//
// An image is a config and a stack of layers under an id (the digest of the
// config); names point at ids. A layer is a read-only tree with metadata and a
// pointer to its parent. Pull brings an image from a registry in one pass per
// layer; CreateRW makes a container's read-write layer and leases the image, and
// those of its volumes; MountRW, MountVolume and MountImage give detached mounts,
// which no mount table shows. Pulls tells how far each pull is.
//
// What is on disk, below Config.Root:
//
//	index.db        images, names and layers (bbolt); a row is written last
//	layers/TREE/    one layer: layer.json, and its content in the driver's format
//	stacks/NAME/    all layers of an image joined, in formats that do that
//	rw/ID/          one read-write layer: upper, work, and links "image", "volume-N" (its leases)
//	roots/          directories that carry a root's owner and mode for read-only mounts
//	tmp/, trash/    what is being made, what is being deleted; emptied by Open
//
// A layer is committed by syncfs, rename and fsync of the directory, and only
// then by its row: after a crash at any point Open finds the old state or the
// new one, and removes what is half-made.
//
// The package does not run anything, does not read CRI messages, and does not
// decide when an image is removed: the kubelet does.
package imagestore
