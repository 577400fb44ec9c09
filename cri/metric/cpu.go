package metric

// quota says whether the processor time is limited: else the kernel counts no periods.
func quota(s *subject) bool {
	return s.container != nil && s.container.Resources.GetCpuQuota() > 0
}

var cpuFamilies = []family{
	counter("container_cpu_user_seconds_total", "Cumulative user CPU time consumed in seconds.",
		func(s *subject) uint64 { return seconds(s.usage().CPU.User) }),
	counter("container_cpu_system_seconds_total", "Cumulative system CPU time consumed in seconds.",
		func(s *subject) uint64 { return seconds(s.usage().CPU.System) }),
	counter("container_cpu_usage_seconds_total", "Cumulative CPU time consumed in seconds.", nil).
		labelled(func(s *subject, add add) { add(seconds(s.usage().CPU.Total), "total") }, "cpu"),
	counter("container_cpu_cfs_periods_total", "Number of elapsed enforcement period intervals.",
		func(s *subject) uint64 { return s.usage().CPU.Periods }).only(quota),
	counter("container_cpu_cfs_throttled_periods_total", "Number of throttled period intervals.",
		func(s *subject) uint64 { return s.usage().CPU.ThrottledPeriods }).only(quota),
	counter("container_cpu_cfs_throttled_seconds_total", "Total time duration the container has been throttled.",
		func(s *subject) uint64 { return seconds(s.usage().CPU.Throttled) }).only(quota),
	counter("container_cpu_cfs_burst_periods_total", "Number of periods when burst occurs.",
		func(s *subject) uint64 { return s.usage().CPU.BurstPeriods }).only(quota),
	counter("container_cpu_cfs_burst_seconds_total", "Total time duration the container has been above its quota.",
		func(s *subject) uint64 { return seconds(s.usage().CPU.Burst) }).only(quota),
}

// stalled says whether the kernel keeps pressure for the cgroup.
func stalled(s *subject) bool { return s.usage().CPU.PSI.Known }

var pressureFamilies = []family{
	counter("container_pressure_cpu_stalled_seconds_total", "Total time duration no tasks in the container could make progress due to CPU congestion.",
		func(s *subject) uint64 { return seconds(s.usage().CPU.PSI.Full.Total) }).only(stalled),
	counter("container_pressure_cpu_waiting_seconds_total", "Total time duration tasks in the container have waited due to CPU congestion.",
		func(s *subject) uint64 { return seconds(s.usage().CPU.PSI.Some.Total) }).only(stalled),
	counter("container_pressure_memory_stalled_seconds_total", "Total time duration no tasks in the container could make progress due to memory congestion.",
		func(s *subject) uint64 { return seconds(s.usage().Memory.PSI.Full.Total) }).only(stalled),
	counter("container_pressure_memory_waiting_seconds_total", "Total time duration tasks in the container have waited due to memory congestion.",
		func(s *subject) uint64 { return seconds(s.usage().Memory.PSI.Some.Total) }).only(stalled),
	counter("container_pressure_io_stalled_seconds_total", "Total time duration no tasks in the container could make progress due to IO congestion.",
		func(s *subject) uint64 { return seconds(s.usage().IO.PSI.Full.Total) }).only(stalled),
	counter("container_pressure_io_waiting_seconds_total", "Total time duration tasks in the container have waited due to IO congestion.",
		func(s *subject) uint64 { return seconds(s.usage().IO.PSI.Some.Total) }).only(stalled),
}
