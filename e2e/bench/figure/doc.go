// Package figure holds measured values: samples, what issue and reader want to
// know of them (median, 90th percentile), rows with the target that a row has
// to reach, and the table and the JSON file that show them.
//
// It measures nothing itself and knows no phase by name.
package figure
