// Package transport has the ways in which requests reach a registry's host:
// connections with time limits, and what is added to or tried with a request on
// its way to that one host.
//
// It knows no images and no credentials, and decides nothing about retries.
package transport
