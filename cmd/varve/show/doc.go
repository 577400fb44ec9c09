// Package show makes lines for people out of what varved answers: bars for a
// pull, tables, a tree of layers. All of it is pure: the same state at the same
// width is the same text. It prints nothing.
package show
