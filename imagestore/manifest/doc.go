// Package manifest reads OCI and Docker schema 2 documents: indexes, manifests
// and configs. Every byte of them comes from outside, so reading is checking:
// what Parse returns is bounded, unambiguous and consistent.
//
// It does not fetch anything and it does not know registries.
package manifest
