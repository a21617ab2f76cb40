//! Resource limits by name (`getrlimit(2)`).

use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

const NAMES: [(&str, Resource); 16] = [
    ("as", Resource::RLIMIT_AS),
    ("core", Resource::RLIMIT_CORE),
    ("cpu", Resource::RLIMIT_CPU),
    ("data", Resource::RLIMIT_DATA),
    ("fsize", Resource::RLIMIT_FSIZE),
    ("locks", Resource::RLIMIT_LOCKS),
    ("memlock", Resource::RLIMIT_MEMLOCK),
    ("msgqueue", Resource::RLIMIT_MSGQUEUE),
    ("nice", Resource::RLIMIT_NICE),
    ("nofile", Resource::RLIMIT_NOFILE),
    ("nproc", Resource::RLIMIT_NPROC),
    ("rss", Resource::RLIMIT_RSS),
    ("rtprio", Resource::RLIMIT_RTPRIO),
    ("rttime", Resource::RLIMIT_RTTIME),
    ("sigpending", Resource::RLIMIT_SIGPENDING),
    ("stack", Resource::RLIMIT_STACK),
];

fn resource(name: &str) -> Option<Resource> {
    NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, resource)| *resource)
}

/// Tells whether `RLIMIT_<name>` exists, in any case.
pub fn is_limit(name: &str) -> bool {
    resource(name).is_some()
}

/// Sets a resource limit of the calling process. Without `hard` that stays what it is, and `soft` is at most that.
///
/// # Errors
/// `InvalidInput` for an unknown name, `EPERM` above the present hard limit.
pub fn set_limit(name: &str, soft: u64, hard: Option<u64>) -> io::Result<()> {
    let resource = resource(name).ok_or(io::ErrorKind::InvalidInput)?;
    let (_, most) = getrlimit(resource)?;
    let (soft, hard) = hard.map_or((soft.min(most), most), |hard| (soft, hard));
    Ok(setrlimit(resource, soft, hard)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_known_by_their_names_in_any_case() {
        assert!(is_limit("nofile") && is_limit("NOFILE") && is_limit("memlock"));
        assert!(!is_limit("") && !is_limit("rlimit_nofile") && !is_limit("openfiles"));
    }
}
