// Package observe looks at the daemon as those do who run it: its metrics,
// traces, profiles and log lines, and what a changed configuration does. It has no
// code but tests.
package observe
