// Package credentials finds a registry's credentials in a docker config.json:
// in the file itself, or by the credential helpers that the file names.
//
// A helper gets the registry's name on its standard input and nothing else that
// an image could choose. It runs only when a registry asked for credentials,
// for a bounded time, and nothing it says is shown: it may be the secret.
// Nothing is written, and no secret is kept longer than one lookup.
package credentials
