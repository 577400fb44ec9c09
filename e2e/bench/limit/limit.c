/*
 * The kernel's own limit for the start of one container: what is left when
 * there is no runtime. It clones a process into new mount, PID, IPC, UTS and
 * cgroup namespaces (and a network namespace with "net"), and the child makes
 * the root that every container has: overlay, proc, /dev with its nodes,
 * devpts, shm, mqueue, sysfs; then pivot_root, exec of a static program, wait.
 *
 *   limit DIR N [net]     DIR holds lower/, a tree with /bin/true and the
 *                         empty directories proc, dev and sys
 *
 * Prints the microseconds of each of N rounds, one per line. The read-write
 * layer's directories are made before the clock starts. The overlay is
 * mounted volatile, so that its end does not wait for a disk.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef CLONE_NEWCGROUP
#define CLONE_NEWCGROUP 0x02000000
#endif

static char lower[3100], merged[3100], work[3200], options[13000];

static void die(const char *step)
{
	fprintf(stderr, "limit: %s: %s\n", step, strerror(errno));
	_exit(1);
}

#define TRY(call) do { if ((call) < 0) die(#call); } while (0)

static void devices(void)
{
	static const struct { const char *name; int major, minor; } node[] = {
		{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7},
		{"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0},
	};
	for (size_t i = 0; i < sizeof(node) / sizeof(node[0]); i++)
		TRY(mknod(node[i].name, S_IFCHR | 0666, makedev(node[i].major, node[i].minor)));
	TRY(symlink("/proc/self/fd", "fd"));
	TRY(symlink("/proc/self/fd/0", "stdin"));
	TRY(symlink("/proc/self/fd/1", "stdout"));
	TRY(symlink("/proc/self/fd/2", "stderr"));
	TRY(symlink("pts/ptmx", "ptmx"));
}

static void child(void)
{
	static char *argv[] = {"/bin/true", NULL}, *envp[] = {"PATH=/bin", NULL};

	TRY(mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL));
	TRY(mount("overlay", merged, "overlay", 0, options));
	TRY(chdir(merged));
	TRY(mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL));
	TRY(mount("tmpfs", "dev", "tmpfs", MS_NOSUID | MS_STRICTATIME, "mode=755,size=64k"));
	TRY(chdir("dev"));
	umask(0);
	devices();
	TRY(mkdir("pts", 0755));
	TRY(mkdir("shm", 01777));
	TRY(mkdir("mqueue", 0755));
	TRY(mount("devpts", "pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5"));
	TRY(mount("shm", "shm", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=1777,size=64m"));
	TRY(mount("mqueue", "mqueue", "mqueue", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL));
	TRY(chdir(merged));
	TRY(mount("sysfs", "sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY, NULL));
	umask(022);
	TRY(syscall(SYS_pivot_root, ".", "."));
	TRY(umount2(".", MNT_DETACH));
	TRY(chdir("/"));
	execve(argv[0], argv, envp);
	die("execve /bin/true");
}

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

/* start makes one container and waits for its end; microseconds. */
static double start(int flags)
{
	double begin = now();
	int status;
	long pid = syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);

	if (pid < 0)
		die("clone");
	if (pid == 0)
		child();
	TRY(waitpid(pid, &status, 0));
	if (status != 0) {
		errno = ECHILD;
		die("the container's program");
	}
	return now() - begin;
}

int main(int argc, char **argv)
{
	int flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
	int rounds;

	if (argc < 3 || strlen(argv[1]) > 3000) {
		fprintf(stderr, "usage: limit DIR N [net]\n");
		return 2;
	}
	rounds = atoi(argv[2]);
	if (argc > 3 && strcmp(argv[3], "net") == 0)
		flags |= CLONE_NEWNET;
	snprintf(lower, sizeof(lower), "%s/lower", argv[1]);
	for (int i = 0; i < rounds; i++) {
		snprintf(merged, sizeof(merged), "%s/%d.%d", argv[1], getpid(), i);
		TRY(mkdir(merged, 0755));
		snprintf(work, sizeof(work), "%s/work", merged);
		TRY(mkdir(work, 0755));
		snprintf(options, sizeof(options), "%s/upper", merged);
		TRY(mkdir(options, 0755));
		snprintf(options, sizeof(options), "lowerdir=%s,upperdir=%s/upper,workdir=%s,volatile", lower, merged, work);
		printf("%.1f\n", start(flags));
		/* pid 1 of the namespace is gone: nothing of it is left but files. */
	}
	return 0;
}
