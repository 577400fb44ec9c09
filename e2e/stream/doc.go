// Package stream tests exec, attach and port-forward with the clients that
// kubectl and crictl have, over SPDY and WebSocket. It has no code but tests.
package stream
