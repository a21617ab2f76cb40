//! Limits of every step, in the words of `docker run` where it has them.

use std::time::Duration;

use clap::Args;

use super::failure::Failure;
use crate::cgroup::{Cpus, LEAST_MEMORY, Limits, parse_size, size};
use crate::engine::Embedded;
use crate::solver::{Bounds, Reserve};

/// Options of commands that run steps.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits of steps")]
pub(crate) struct LimitArgs {
    /// Most memory of a step, e.g. 512m or 2g; it gets no swap beside it. Needs a delegated control group
    #[arg(short, long, value_name = "BYTES", value_parser = memory, env = "DOCKLESS_MEMORY")]
    pub(crate) memory: Option<u64>,
    /// Processor time of a step, as a number of processors, e.g. 1.5. Needs a delegated control group
    #[arg(long, value_name = "N", value_parser = cpus, env = "DOCKLESS_CPUS")]
    pub(crate) cpus: Option<Cpus>,
    /// Most processes and threads of a step at a time. Needs a delegated control group
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), env = "DOCKLESS_PIDS_LIMIT")]
    pub(crate) pids_limit: Option<u64>,
    /// How long a step may run, e.g. 90s, 10m or 1h30m; where a recipe says so too, the shorter counts
    #[arg(long, value_name = "TIME", value_parser = duration, env = "DOCKLESS_STEP_TIMEOUT")]
    pub(crate) step_timeout: Option<Duration>,
    /// How much of the store's file system stays free, e.g. 500m, and the same part of its inodes: with less, what runs is
    /// ended. 0 is nothing; without, 1g or a twentieth of a smaller one
    #[arg(long, value_name = "BYTES", value_parser = reserve, env = "DOCKLESS_DISK_RESERVE")]
    pub(crate) disk_reserve: Option<u64>,
}

impl LimitArgs {
    /// Tells whether a step has any.
    pub(crate) fn is_some(&self) -> bool {
        self.memory.is_some() || self.cpus.is_some() || self.pids_limit.is_some() || self.step_timeout.is_some()
    }

    /// Has an engine keep them.
    pub(crate) fn apply(&self, engine: &mut Embedded) -> Result<(), Failure> {
        let limits = Limits { memory: self.memory, pids: self.pids_limit, cpus: self.cpus, ..Limits::default() };
        engine.bounds = Bounds::new(limits, self.step_timeout)?;
        engine.bounds.reserve = self.disk_reserve.map_or(Reserve::Usual, Reserve::Bytes);
        Ok(())
    }
}

const SIZE: &str = "write bytes, or a number with k, m or g, e.g. 512m";

fn reserve(text: &str) -> Result<u64, String> {
    parse_size(text).ok_or_else(|| SIZE.to_owned())
}

fn memory(text: &str) -> Result<u64, String> {
    match parse_size(text) {
        Some(bytes) if bytes >= LEAST_MEMORY => Ok(bytes),
        Some(_) => Err(format!("a step needs at least {}", size(LEAST_MEMORY))),
        None => Err(SIZE.to_owned()),
    }
}

fn cpus(text: &str) -> Result<Cpus, String> {
    Cpus::parse(text).ok_or_else(|| "write a number of processors from 0.01 on, e.g. 1.5".to_owned())
}

/// Parses `90s`, `10m`, `1h30m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let mut seconds = Some(0_u64);
    let mut rest = text;
    while let Some(end) = rest.find(|c: char| !c.is_ascii_digit()) {
        let unit = match rest.as_bytes()[end] {
            b's' => 1,
            b'm' => 60,
            b'h' => 60 * 60,
            _ => break,
        };
        let part = rest[..end].parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
        seconds = seconds.zip(part).and_then(|(sum, part)| sum.checked_add(part));
        rest = &rest[end + 1..];
    }
    match seconds {
        Some(seconds) if seconds > 0 && rest.is_empty() => Ok(Duration::from_secs(seconds)),
        _ => Err("write a time with h, m or s, e.g. 90s or 1h30m".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_numbers_with_units() {
        for (text, seconds) in [("90s", 90), ("10m", 600), ("1h30m", 5400), ("1h1m1s", 3661)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for wrong in ["", "0s", "10", "s", "1h30", "1d", "-1s", "1.5h", "99999999999999999999s", "1é", "é"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn memory_must_hold_what_looks_after_a_step() {
        assert_eq!(memory("6m"), Ok(6 << 20));
        assert!(memory("5m").is_err_and(|why| why.contains("6m")) && memory("much").is_err());
    }
}
