//! Works a graph off: schedule, cache keys, jobs, ops.
