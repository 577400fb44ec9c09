// Package registry fetches manifests and blobs from OCI and Docker v2
// registries and their mirrors.
//
// It knows hosts, tokens, retries, ranges and rates. It does not know what the
// bytes mean: manifests are parsed, and layers unpacked, elsewhere. It never
// follows the urls of a descriptor, and it sends credentials to the one host
// they were given for (CVE-2020-15157).
package registry
