// Package plot draws series of values over time as one SVG file: a panel for
// each quantity, one under the other on the same time axis, a line for each
// runtime. Every panel's axis begins at zero, so that what is flat looks flat
// and what grows looks as large as it is.
//
// It measures nothing and needs no other program to be looked at than a browser.
package plot
