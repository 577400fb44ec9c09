// Package event keeps the CRI's container events for those who listen.
//
// There is one log for all listeners, each of whom reads on from a place of its
// own. It holds records, not messages: what an event shows is built when it is
// sent, from records that were never changed since, so that a thousand events
// of a pod with a hundred containers cost a list of pointers each. The log is
// bounded by MaxBytes however many listeners there are and however slow they
// are; one who is further behind than that is told how many events it has
// missed, once, and its stream ends.
//
// It makes no events: what happened is said by package server. It does not keep
// events for those who come later, but for the time after a start of the daemon
// (Keep).
package event
