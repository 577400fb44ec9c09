// Package record keeps what must outlive the daemon: one record per pod and
// one per container, each one Go struct in one JSON file, written by rename by
// one writer. A restart reads the same file through the same code that serves
// status.
//
//	<stateDir>/pods/<id>/pod.json
//	<stateDir>/containers/<id>/container.json
//
// The state directory is a tmpfs: records are dead after a boot, so nothing is
// synced. The package keeps no record in memory, takes no lock and knows no
// other object: the owner of a record copies it (Clone), calls the method of
// the event, saves the copy, and only then shows it to readers.
package record
