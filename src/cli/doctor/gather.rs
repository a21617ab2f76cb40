//! Finding facts out.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use super::facts::{Disk, Facts, Machine, Memory, Namespaces};
use super::mirror;

/// What the command knows already and a doctor must not find out in its own way.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Where the store is or will be.
    pub store: PathBuf,
    /// Debian mirrors in the order in which a fetch asks them.
    pub mirrors: Vec<String>,
    /// The environment.
    pub environment: BTreeMap<String, String>,
    /// Whether standard error has a live view.
    pub live: bool,
    /// What came of trying namespaces.
    pub namespaces: Namespaces,
    /// Kernel, user, switches.
    pub machine: Machine,
}

/// Variables that lead fetches another way.
const PROXIES: [&str; 8] =
    ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"];

/// Finds everything out; takes some seconds where the mirror does not answer.
pub fn gather(surroundings: Surroundings) -> Facts {
    let Surroundings { store, mirrors, environment, live, namespaces, machine } = surroundings;
    let set = |name: &str| environment.get(name).filter(|value| !value.is_empty());
    let proxies: Vec<(String, String)> = PROXIES
        .into_iter()
        .filter_map(|name| set(name).map(|value| (name.to_owned(), without_password(value))))
        .collect();
    let mirror = mirrors.into_iter().next().map(|url| {
        let names =
            if url.starts_with("https:") { ["https_proxy", "HTTPS_PROXY"] } else { ["http_proxy", "HTTP_PROXY"] };
        let proxy = names.into_iter().chain(["all_proxy", "ALL_PROXY"]).find_map(set);
        let excepted = ["no_proxy", "NO_PROXY"].into_iter().find_map(set);
        let proxy = proxy.filter(|_| !excepted.is_some_and(|hosts| is_excepted(&url, hosts)));
        let answer = mirror::ask(&url, proxy.map(String::as_str));
        (without_password(&url), answer)
    });
    Facts {
        machine,
        namespaces,
        cgroup: cgroup(),
        disk: disk(&store),
        memory: fs::read_to_string("/proc/meminfo").ok().and_then(|text| memory(&text)),
        cores: thread::available_parallelism().map_or(1, usize::from),
        mirror,
        proxies,
        terminal: live.then(columns),
        program: std::env::current_exe().ok(),
    }
}

fn columns() -> u16 {
    rustix::termios::tcgetwinsize(rustix::stdio::stderr()).map_or(80, |size| size.ws_col)
}

/// Leaves out `user:password@` of an address.
fn without_password(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (scheme, rest));
    let end = rest.find('/').unwrap_or(rest.len());
    let host = rest[..end].rfind('@').map_or(0, |at| at + 1);
    if scheme.is_empty() { rest[host..].to_owned() } else { format!("{scheme}://{}", &rest[host..]) }
}

/// Whether the host of `url` stands in a list of hosts and domains, as `no_proxy` has it.
fn is_excepted(url: &str, hosts: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    hosts
        .split(',')
        .map(|entry| entry.trim().trim_start_matches('.'))
        .filter(|entry| !entry.is_empty())
        .any(|entry| entry == "*" || host == entry || host.strip_suffix(entry).is_some_and(|rest| rest.ends_with('.')))
}

/// Reads `/proc/meminfo`, whose kB are KiB.
fn memory(text: &str) -> Option<Memory> {
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    };
    Some(Memory { total: field("MemTotal")?, available: field("MemAvailable")? })
}

/// Looks at the file system of the nearest directory above the store that exists.
fn disk(store: &Path) -> Result<Disk, String> {
    let existing = store.ancestors().map(|path| if path.as_os_str().is_empty() { Path::new(".") } else { path });
    let Some(existing) = existing.into_iter().find(|path| path.exists()) else {
        return Err(format!("`{}` is nowhere", store.display()));
    };
    let told = rustix::fs::statvfs(existing).map_err(|error| format!("`{}`: {error}", existing.display()))?;
    let writable = rustix::fs::access(existing, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK).is_ok();
    Ok(Disk { store: store.to_owned(), free: told.f_bavail.saturating_mul(told.f_frsize), writable })
}

/// Returns this process's version 2 control group where it may make children in it.
fn cgroup() -> Option<PathBuf> {
    let text = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let path = Path::new("/sys/fs/cgroup").join(own);
    let procs = path.join("cgroup.procs");
    (path.join("cgroup.controllers").exists() && rustix::fs::access(&procs, rustix::fs::Access::WRITE_OK).is_ok())
        .then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_told() {
        assert_eq!(without_password("http://user:secret@proxy:3128/"), "http://proxy:3128/");
        assert_eq!(without_password("user:p@ss@proxy"), "proxy");
        assert_eq!(without_password("http://mirror/a@b"), "http://mirror/a@b");
    }

    #[test]
    fn hosts_are_excepted_as_curl_does_it() {
        for (hosts, excepted) in [
            ("example", true),
            (".example", true),
            ("ample", false),
            ("*", true),
            ("", false),
            ("x, mirror.example", true),
        ] {
            assert_eq!(is_excepted("http://mirror.example:80/debian", hosts), excepted, "{hosts}");
        }
    }

    #[test]
    fn memory_is_read_in_bytes() {
        let text = "MemTotal:       2048 kB\nMemFree: 1 kB\nMemAvailable:   1024 kB\n";
        assert_eq!(memory(text), Some(Memory { total: 2_097_152, available: 1_048_576 }));
        assert_eq!(memory("MemTotal: lots"), None);
    }

    #[test]
    fn a_store_that_does_not_exist_yet_lies_on_the_disk_of_what_does() {
        let here = tempfile::tempdir().expect("a temporary directory");
        let disk = disk(&here.path().join("not/yet/there")).expect("a disk");
        assert!(disk.free > 0 && disk.writable);
    }
}
