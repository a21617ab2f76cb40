//! Arguments, environment, terminal and exit codes: the only place that prints.

pub mod doctor;
pub mod progress;
pub mod report;
pub mod table;
