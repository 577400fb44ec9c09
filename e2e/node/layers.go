package node

import "path/filepath"

// layersOf is where the image store in root keeps the containers' read-write
// layers, one directory each.
func layersOf(root string) string { return filepath.Join(root, "rw") }
