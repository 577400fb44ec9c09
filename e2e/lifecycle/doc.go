// Package lifecycle tests how containers end and what a pod gives them, on a
// real node: signals and grace periods, reasons of exit, shared processes,
// addresses and ports, name files. It has no code but tests.
package lifecycle
