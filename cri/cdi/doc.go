// Package cdi finds what the devices of the Container Device Interface do to a
// container: https://github.com/cncf-tags/container-device-interface. Vendors
// put specifications into directories of the node, requests name devices in
// them.
//
// It applies nothing: package plan does, and says what is not possible here.
// It watches nothing: a request that names devices looks at the directories, and
// reads those files that have changed; other requests cost nothing. Annotations
// of pods are not looked at, the request's field is: what an annotation asks for
// has gone past no check of who may have it.
package cdi
