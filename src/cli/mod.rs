//! Arguments, environment, terminal and exit codes: the only place that prints.

pub mod progress;
pub mod report;
