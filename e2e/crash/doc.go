// Package crash kills varved with -9 and looks at what the next start makes of
// it. It has no code but tests.
package crash
