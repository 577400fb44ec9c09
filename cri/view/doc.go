// Package view makes the CRI's messages of records: what lists, statuses and events say
// of pods and containers, and which of them pass a filter.
//
// It is pure: it reads no file, asks no shim, and keeps nothing.
package view
