// Package harness is what the end-to-end tests share: one throw-away node and
// one registry for a test package, brought up with hack/node.sh as any user
// would, and short ways to say "this pod, these containers, that output".
// Every test is audited: what it leaves on the machine fails it.
package harness
