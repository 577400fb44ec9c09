// The compiler accepts functions without a body, which fork_unsafe.go links
// by name, only in a package that has an assembly file.
