// Package rpc is what every request of the CRI goes through: it is counted,
// logged with the objects that it is about, given a little less time than its
// client has so that the answer says what took so long, and an error or a panic
// becomes a gRPC status.
//
// What a request means is cri/server's and cri/images' business.
package rpc
