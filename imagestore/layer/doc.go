// Package layer is the seam between the image store and the formats in which a
// layer's content can lie on disk.
//
// A Driver writes one layer's content into a directory of its own, joins the layers
// of an image where its format wants that, and mounts stacks of them. It knows nothing of images, names, leases or databases, and it
// does not decide where a layer's directory is or when it goes. Every driver
// passes the suite in layertest.
package layer
