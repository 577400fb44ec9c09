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
//	reserve/        blocks and inodes for cleaning a full disk up
//	checked.json    when the layers were last read again, and whether the store was closed
//
// What is made is made in tmp/, and what goes leaves through trash/. The order in
// which things reach the disk is this one, everywhere:
//
//   - a layer: its files and layer.json, synced (Driver.Sync: overlay by one syncfs,
//     erofs by fsync of its few files); renamed to layers/; fsync of layers/; its row.
//   - a stack: its files, synced; renamed to stacks/; fsync of stacks/. It has no row:
//     one that no image's top names is removed, one that is missing is made again.
//   - an image: all its layers and its stack as above, then in one transaction its
//     row, config, manifest and names. Pull returns after that.
//   - a removal: in one transaction the names go and the row is marked; Remove returns.
//     When no container has the image, in one transaction its row and those of its
//     layers go; then stacks and directories are renamed to trash/ and deleted.
//   - a damaged layer's replacement: a layer as above, in a directory of another name;
//     in the transaction that writes its row all rows lead there, and the old
//     directory is noted as retired, with the containers that may have it mounted.
//   - a read-write layer: renamed to rw/ whole, and never synced.
//
// A transaction is on the disk (bbolt syncs its pages, then the page that leads to
// them) before any reader sees it. So a row never names what is not there and whole,
// and what no row names is nothing: after a crash or a power cut at any point Open
// finds the old state or the new one, and removes the rest.
//
// The package does not run anything, does not read CRI messages, and does not
// decide when an image is removed: the kubelet does.
package imagestore
