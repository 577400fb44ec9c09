// Package resource tests what containers and pods are limited to, and how that
// changes while they run, on a real node. It has no code but tests.
package resource
