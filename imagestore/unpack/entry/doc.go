// Package entry says what the entries of a layer's archive mean, whatever the
// layer is unpacked into: names, owners, times, attributes, devices and whiteouts.
//
// All of it is pure: the package touches no file and keeps no state.
package entry
