//! Running scanners.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::Value;

use super::error::ScanError;
use super::sarif::{findings, with_level};
use super::scanner::{Limits, Scanner, Subject};
use crate::http::Stop;

/// The most bytes read of what a scanner writes.
const MOST: u64 = 256 << 20;

/// The last bytes kept of what it complains about.
const COMPLAINTS: usize = 600;

/// How often somebody who waits for it looks up.
const GLANCE: Duration = Duration::from_millis(20);

/// What one scanner says of one subject: its SARIF, which was looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct Scanned {
    /// Which one.
    pub scanner: &'static str,
    /// The document.
    pub document: Value,
}

/// Has a scanner look at something; `None` where it does not look at such things. It runs with our environment, for
/// scanners take databases and proxies from there, and in a process group of its own, which ends with us.
///
/// # Errors
/// All of `ScanError`.
pub fn scan(
    scanner: &Scanner,
    program: &Path,
    subject: &Subject,
    limits: &Limits,
    stop: &Stop,
) -> Result<Option<Scanned>, ScanError> {
    let io = |action, path: &Path| {
        let path = path.to_owned();
        move |source| ScanError::Io { action, path, source }
    };
    let temporary = std::env::temp_dir();
    let out = tempfile::Builder::new().prefix("dockless-scan-").suffix(".sarif").tempfile();
    let out = out.map_err(io("create a file in", &temporary))?;
    let Some(arguments) = scanner.command(subject, out.path(), limits) else { return Ok(None) };
    let mut complaints = tempfile::tempfile().map_err(io("create a file in", &temporary))?;
    let to = complaints.try_clone().map_err(io("create a file in", &temporary))?;
    let mut child = Command::new(program)
        .args(arguments)
        .envs(scanner.variables(limits).iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(to)
        .process_group(0)
        .spawn()
        .map_err(io("run", program))?;
    let group = i32::try_from(child.id()).ok().map(Pid::from_raw);
    let since = Instant::now();
    let (name, subject_name) = (scanner.name, || subject.name());
    let status = loop {
        if let Some(status) = child.try_wait().map_err(io("wait for", program))? {
            break status;
        }
        let (late, stopped) = (since.elapsed() > limits.patience, stop.asked());
        if late || stopped {
            if let Some(group) = group {
                let _ = killpg(group, Signal::SIGKILL);
            }
            let _ = child.wait();
            let subject = subject_name();
            return Err(if stopped {
                ScanError::Stopped { scanner: name, subject }
            } else {
                ScanError::Late { scanner: name, subject, seconds: limits.patience.as_secs() }
            });
        }
        thread::sleep(GLANCE);
    };
    if !status.code().is_some_and(|code| scanner.done.contains(&code)) {
        let said = last_words(&mut complaints);
        return Err(ScanError::Failed { scanner: name, subject: subject_name(), status: status.to_string(), said });
    }
    let mut bytes = Vec::new();
    File::open(out.path()).and_then(|file| file.take(MOST).read_to_end(&mut bytes)).map_err(io("read", out.path()))?;
    if bytes.is_empty() && status.code() == Some(128) {
        // It found nothing that it could look at, and wrote nothing.
        return Ok(None);
    }
    let wrong = |reason: String| ScanError::Sarif { scanner: name, subject: subject_name(), reason };
    let mut document: Value = serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
    if let Some(level) = scanner.level {
        with_level(&mut document, level);
    }
    findings(&document).map_err(wrong)?;
    Ok(Some(Scanned { scanner: name, document }))
}

fn last_words(complaints: &mut File) -> String {
    let mut bytes = Vec::new();
    let _ = complaints.rewind().and_then(|()| complaints.take(MOST).read_to_end(&mut bytes));
    let text = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(COMPLAINTS)..]).into_owned();
    let line: String = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}
