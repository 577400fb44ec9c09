//go:build race

package imagestore

// underRace tells that the race detector makes everything many times slower.
const underRace = true
