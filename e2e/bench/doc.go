// Command bench measures varve, and other runtimes beside it, and prints what
// it found against the figures that varve has set itself.
//
//	go run ./e2e/bench -bin bin [-endpoint name=unix:///run/x.sock ...]
//
// In one run, interleaved, so that a noisy moment of the machine falls on all:
//
//   - the kernel's limit: limit/limit.c makes a container's namespaces and
//     mounts with nothing around it;
//   - runtime/container alone, through the starter, as a ratio to that limit;
//   - each CRI call through varved on a throw-away node and through every
//     endpoint that was named, pod by pod, on the host's network and by CNI;
//     what the CNI plugins take by themselves is measured apart and taken off;
//   - whole lives of pods, eight at a time;
//   - memory (PSS) of daemon and shims with many pods, and lists of them;
//   - with -only scale, lists and idle processor time with 500 containers;
//   - with -only churn, memory, descriptors, goroutines and processes while
//     pods come and go for ten minutes, drawn into -plot FILE.svg;
//   - with -pull, the pull of a small and of a big image (package pullset).
//
// Other endpoints must pull every registry's images from -listen over plain
// HTTP. They should use the same CNI plugins.
//
// It is not a test: a figure that is missed is printed and changes nothing.
// The exit code is 1 only when something did not work.
package main
