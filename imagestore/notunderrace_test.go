//go:build !race

package imagestore

const underRace = false
