/*
 * What the benchmark's containers run: one static program with two names, so
 * that nothing but the runtime is measured. "pause" waits to be ended, and
 * every other name ("true") returns 0 at once.
 */
#include <signal.h>
#include <string.h>
#include <unistd.h>

static void end(int signal)
{
	(void)signal;
	_exit(0);
}

int main(int argc, char **argv)
{
	const char *name = argc > 0 ? strrchr(argv[0], '/') : 0;

	name = name ? name + 1 : argc > 0 ? argv[0] : "";
	if (strcmp(name, "bench-pause") != 0)
		return 0;
	signal(SIGTERM, end); /* as the first process of its namespace it would not be killed by it */
	for (;;)
		pause();
}
