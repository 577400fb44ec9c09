package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// mount is one file system of the machine.
type mount struct {
	fstype, target, data string
	optional             bool // kernels are built without it
}

// kernelMounts are needed before anything can be told.
var kernelMounts = []mount{
	{fstype: "proc", target: "/proc"},
	{fstype: "sysfs", target: "/sys"},
	{fstype: "devtmpfs", target: "/dev"},
}

var nodeMounts = []mount{
	{fstype: "devpts", target: "/dev/pts", data: "gid=5,mode=620,ptmxmode=666"},
	{fstype: "tmpfs", target: "/dev/shm", data: "mode=1777"},
	{fstype: "mqueue", target: "/dev/mqueue"},
	{fstype: "tmpfs", target: "/run", data: "mode=755"},
	{fstype: "cgroup2", target: "/sys/fs/cgroup"},
	{fstype: "securityfs", target: "/sys/kernel/security", optional: true},
	{fstype: "bpf", target: "/sys/fs/bpf", optional: true},
	{fstype: "hugetlbfs", target: "/dev/hugepages", optional: true},
}

func mountAll(list []mount) error {
	for _, m := range list {
		err := os.MkdirAll(m.target, 0o755)
		if err == nil {
			err = unix.Mount(m.fstype, m.target, m.fstype, 0, m.data)
		}
		// The kernel itself may have mounted devtmpfs already.
		if err != nil && !m.optional && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mount %s on %s: %w", m.fstype, m.target, err)
		}
	}
	return nil
}

// cgroups is the only hierarchy there is.
const cgroups = "/sys/fs/cgroup"

// delegate moves this process out of the root group and gives every controller
// to the groups below, as systemd does on a node.
func delegate() error {
	if err := os.Mkdir(cgroups+"/init", 0o755); err != nil {
		return err
	}
	for _, pid := range []string{"1", "0"} { // the first process and this one
		if err := os.WriteFile(cgroups+"/init/cgroup.procs", []byte(pid), 0); err != nil {
			return err
		}
	}
	have, err := os.ReadFile(cgroups + "/cgroup.controllers")
	if err != nil {
		return err
	}
	for controller := range strings.FieldsSeq(string(have)) {
		if err := os.WriteFile(cgroups+"/cgroup.subtree_control", []byte("+"+controller), 0); err != nil {
			return fmt.Errorf("enable %s: %w", controller, err)
		}
	}
	return nil
}

// swap tells the jobs which disk is for swap. Those that want some turn it on
// and off again: a test of memory limits is another one with it.
func swap() error {
	for _, disk := range []string{"/dev/ubdb", "/dev/nvme0n2"} {
		if _, err := os.Stat(disk); err == nil {
			return os.Setenv("VARVE_SWAP", disk)
		}
	}
	return errors.New("there is no second disk")
}

// features turns on what a node has and a bare kernel has not: /dev/fuse, huge
// pages. A kernel that lacks one has tests that say so.
func features() {
	_ = command("modprobe", "fuse")
	_ = os.WriteFile("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", []byte("8"), 0)
}

// tell says what this machine is, for the reader of a failed test.
func tell() {
	var u unix.Utsname
	_ = unix.Uname(&u)
	say("kernel %s", unix.ByteSliceToString(u.Release[:]))
	for _, file := range []string{cgroups + "/cgroup.controllers", "/sys/kernel/security/lsm", "/proc/pressure/cpu"} {
		body, err := os.ReadFile(file)
		if err != nil {
			say("%v", err)
			continue
		}
		say("%s: %s", file, strings.TrimSpace(string(body)))
	}
}

// command runs a program that says nothing when all is well.
func command(argv ...string) error {
	if said, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, said)
	}
	return nil
}
