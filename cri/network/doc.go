// Package network attaches pods to the cluster's network by CNI plugins and
// detaches them again.
//
// The one rule is that a detach is a duty: before a plugin is asked for anything,
// a small file in the data root says what must be undone (the pod, the
// network's configuration as it was then, the arguments), and only a DEL that
// succeeded removes it. So an address is given back after a crash, after a
// reboot (the namespace is gone then; DEL works without one) and after the
// configuration changed in between.
//
// A pod that wants a port of the host which another pod has is refused before any plugin
// is asked (PortError): the plugins themselves let both have it, and the first one gets
// the connections. The port is a pod's as long as its detach is owed.
//
// The configuration directory is read again whenever it has changed; the
// first valid file by name is the network, as with every other runtime.
//
// The package makes no namespaces and knows nothing of pods' states. Bringing
// the loopback interface up is runtime/namespace's work, not a plugin's.
package network
