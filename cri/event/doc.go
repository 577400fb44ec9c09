// Package event hands the CRI's container events to those who listen. It makes
// none: what happened is said by package server.
package event
