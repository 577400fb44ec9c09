// Command fence fails when the code leaves the bounds that the design sets and
// that no compiler checks:
//
//	go run ./hack/fence [folder]
//
// It is quiet when all is well. Otherwise it prints one line per finding,
// file:line: what is wrong, and exits with 1.
//
// The rules: unsafe only in *_unsafe.go; raw system calls only below runtime/
// and shim/; imports only along cmd -> cri -> {imagestore, shim} -> runtime; the
// shim program links nothing outside a short list; no package is named after
// nothing (util, common, helpers, types); files have at most 500 lines,
// functions at most 100 lines and 5 parameters (not counting those that are there
// for an interface's sake, named _). Tests may be as long as they like, and may use e2e's fakes; generated files are only held to unsafe,
// raw system calls and imports.
package main
