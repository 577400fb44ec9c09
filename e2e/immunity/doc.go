// Package immunity shows, for published vulnerabilities of container software,
// that varve does not have them; each test is named for its id. Those of image
// unpacking are in imagestore. It has no code but tests.
package immunity
