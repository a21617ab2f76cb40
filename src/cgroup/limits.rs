//! Limits as values, and what is written for them.

use super::place::{Controller, Version};

/// Least memory: what looks after a step must fit in, too.
pub const LEAST_MEMORY: u64 = 6 << 20;

/// The two processes of ours that look after a step count as its own.
const OURS: u64 = 2;

/// Microseconds that processor time is measured out over, the kernel's default.
const PERIOD: u64 = 100_000;

/// Processor time, as a number of processors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cpus {
    /// Hundred thousandths of a processor: microseconds of each tenth of a second.
    quota: u64,
}

impl Cpus {
    /// Reads `1.5`: at least a hundredth, five digits after the point at most.
    pub fn parse(text: &str) -> Option<Self> {
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if (whole.is_empty() && part.is_empty()) || !digits(whole) || !digits(part) || part.len() > 5 {
            return None;
        }
        let number = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<u64>().ok() };
        let quota = number(whole)?.checked_mul(PERIOD)?.checked_add(number(&format!("{part:0<5}"))?)?;
        Self::of(quota, PERIOD)
    }

    /// `quota` of each `period`, both in microseconds.
    pub fn of(quota: u64, period: u64) -> Option<Self> {
        let quota = quota.checked_mul(PERIOD)?.checked_div(period)?;
        (quota >= PERIOD / 100).then_some(Self { quota })
    }
}

/// What a step may use; `None` is as much as the builder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Bytes of memory, file system caches and memory file systems included.
    pub memory: Option<u64>,
    /// Bytes of swap beside `memory`; without, none.
    pub swap: Option<u64>,
    /// Processes and threads at a time.
    pub pids: Option<u64>,
    /// Processor time.
    pub cpus: Option<Cpus>,
    /// Weight against other groups, 2 to 262144, where processors are short (`cpu.shares` of version 1).
    pub shares: Option<u64>,
}

/// One file and what is written to it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) file: &'static str,
    pub(super) value: String,
    /// The kernel may be built without it.
    pub(super) optional: bool,
}

impl Limits {
    /// Tells whether nothing is limited.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns what is needed for these.
    pub fn controllers(&self) -> impl Iterator<Item = Controller> + use<> {
        let Self { memory, pids, cpus, shares, .. } = *self;
        let all = [
            (Controller::Cpu, cpus.is_some() || shares.is_some()),
            (Controller::Memory, memory.is_some()),
            (Controller::Pids, pids.is_some()),
        ];
        all.into_iter().filter_map(|(controller, wanted)| wanted.then_some(controller))
    }

    /// The tighter one of each two.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        fn least<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
            one.into_iter().chain(other).min()
        }
        let swap = match (self.memory, other.memory) {
            (Some(one), Some(other_memory)) if other_memory < one => other.swap,
            (None, Some(_)) => other.swap,
            _ => self.swap,
        };
        Self {
            memory: least(self.memory, other.memory),
            swap,
            pids: least(self.pids, other.pids),
            cpus: least(self.cpus, other.cpus),
            shares: least(self.shares, other.shares),
        }
    }

    /// What is to be written for one controller, in this order.
    pub(super) fn settings(&self, controller: Controller, version: Version) -> Vec<Setting> {
        let needed = |file, value: String| Setting { file, value, optional: false };
        let optional = |file, value: u64| Setting { file, value: value.to_string(), optional: true };
        let mut settings = Vec::new();
        match (controller, version) {
            (Controller::Memory, Version::V1) => settings.extend(self.memory.into_iter().flat_map(|memory| {
                let both = memory.saturating_add(self.swap.unwrap_or(0));
                // The second bounds memory and swap together and may not be less than the first.
                [needed("memory.limit_in_bytes", memory.to_string()), optional("memory.memsw.limit_in_bytes", both)]
            })),
            (Controller::Memory, Version::V2) => settings.extend(self.memory.into_iter().flat_map(|memory| {
                [needed("memory.max", memory.to_string()), optional("memory.swap.max", self.swap.unwrap_or(0))]
            })),
            (Controller::Pids, _) => {
                settings.extend(self.pids.map(|pids| needed("pids.max", pids.saturating_add(OURS).to_string())));
            }
            (Controller::Cpu, Version::V1) => {
                settings.extend(self.cpus.into_iter().flat_map(|cpus| {
                    [
                        needed("cpu.cfs_period_us", PERIOD.to_string()),
                        needed("cpu.cfs_quota_us", cpus.quota.to_string()),
                    ]
                }));
                settings.extend(self.shares.map(|shares| needed("cpu.shares", shares.to_string())));
            }
            (Controller::Cpu, Version::V2) => {
                settings.extend(self.cpus.map(|cpus| needed("cpu.max", format!("{} {PERIOD}", cpus.quota))));
                settings.extend(self.shares.map(|shares| needed("cpu.weight", weight(shares).to_string())));
            }
        }
        settings
    }
}

/// Shares of version 1 (2 to 262144, 1024 by default) as a weight of version 2 (1 to 10000), as OCI runtimes map them.
fn weight(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142
}

/// Writes bytes as [`parse_size`] reads them.
pub fn size(bytes: u64) -> String {
    let units = [(30, 'g'), (20, 'm'), (10, 'k')];
    let whole = units.into_iter().find(|(bits, _)| bytes > 0 && bytes.trailing_zeros() >= *bits);
    whole.map_or_else(|| bytes.to_string(), |(bits, unit)| format!("{}{unit}", bytes >> bits))
}

/// Reads `512m` as Docker does: bytes, or with b, k, m, g powers of 1024; `k`, `kb` and `kib` are the same.
pub fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let bits = match &text[end..] {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return None,
    };
    text[..end].parse::<u64>().ok()?.checked_mul(1 << bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(limits: &Limits, controller: Controller, version: Version) -> Vec<String> {
        limits.settings(controller, version).into_iter().map(|set| format!("{}={}", set.file, set.value)).collect()
    }

    #[test]
    fn each_version_has_its_files() {
        let limits = Limits {
            memory: Some(64 << 20),
            pids: Some(10),
            cpus: Cpus::parse("1.5"),
            shares: Some(1024),
            ..Limits::default()
        };
        let all = |version| -> Vec<String> {
            limits.controllers().flat_map(|controller| written(&limits, controller, version)).collect()
        };
        assert_eq!(
            all(Version::V2),
            ["cpu.max=150000 100000", "cpu.weight=39", "memory.max=67108864", "memory.swap.max=0", "pids.max=12"]
        );
        assert_eq!(
            all(Version::V1),
            [
                "cpu.cfs_period_us=100000",
                "cpu.cfs_quota_us=150000",
                "cpu.shares=1024",
                "memory.limit_in_bytes=67108864",
                "memory.memsw.limit_in_bytes=67108864",
                "pids.max=12"
            ]
        );
    }

    #[test]
    fn of_two_limits_the_tighter_one_counts() {
        let memory = |memory, swap| Limits { memory: Some(memory), swap, ..Limits::default() };
        let one = Limits { pids: Some(5), ..memory(100, None) };
        assert_eq!(one.and(memory(50, Some(7))), Limits { pids: Some(5), ..memory(50, Some(7)) });
        assert_eq!(one.and(memory(200, Some(7))), one);
        assert_eq!(Limits::default().and(one), one);
    }

    #[test]
    fn processors_are_counted_in_fractions() {
        for (text, quota) in [("1", 100_000), ("1.5", 150_000), (".5", 50_000), ("0.01", 1_000), ("2.", 200_000)] {
            assert_eq!(Cpus::parse(text), Some(Cpus { quota }), "{text}");
        }
        for wrong in ["", ".", "0", "0.001", "-1", "1e3", "1,5", "18446744073709551615", "0.000001", "nan"] {
            assert_eq!(Cpus::parse(wrong), None, "{wrong}");
        }
        assert_eq!(Cpus::of(50_000, 0), None);
    }

    #[test]
    fn sizes_are_read_as_docker_reads_them() {
        for (text, bytes) in [("1", 1), ("6m", 6 << 20), ("1GiB", 1 << 30), ("2 ", 2), ("3kb", 3 << 10)] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
            assert_eq!(parse_size(&size(bytes)), Some(bytes));
        }
        for wrong in ["", "m", "-1", "1.5g", "99999999999t", "1x", "é"] {
            assert_eq!(parse_size(wrong), None, "{wrong}");
        }
    }
}
