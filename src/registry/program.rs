//! Programs that keep credentials: `docker-credential-<name> get`, the registry on standard input, JSON on standard
//! output (docker-credential-helpers, "Development").

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Deserialize;

use super::credentials::Credential;
use super::error::RegistryError;
use crate::http::Stop;

/// The most bytes of an answer.
const MOST: usize = 1 << 20;

/// How long a program may take; some ask their user for a password.
const PATIENCE: Duration = Duration::from_mins(2);

/// How often we look whether it has ended.
const GLANCE: Duration = Duration::from_millis(5);

/// Under this name a program hands out a refresh token.
const TOKEN: &str = "<token>";

/// What programs print where they have nothing.
const NOTHING: [&str; 2] = ["credentials not found in native keychain", "no credentials server URL"];

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

/// Asks the program `name`, which `file` names, for what it has for `server`.
pub(super) fn ask(name: &str, server: &str, file: &Path, stop: &Stop) -> Result<Option<Credential>, RegistryError> {
    let program = format!("docker-credential-{name}");
    let failed = |reason: String| RegistryError::Credentials {
        path: file.to_owned(),
        reason: format!("it names the program `{program}` for {server}, which {reason}"),
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if !name.bytes().all(plain) {
        return Err(failed("is no name of a program".to_owned()));
    }
    let spawned =
        Command::new(&program).arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut child = spawned.map_err(|error| failed(format!("cannot be run: {error}")))?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not read it will say so in its own way.
        let _ = stdin.write_all(server.as_bytes());
    }
    let mut output = Vec::new();
    let status = answer(&mut child, &mut output, stop);
    let status = status.ok_or_else(|| failed(format!("did not answer within {} s", PATIENCE.as_secs())))?;
    if output.len() > MOST {
        return Err(failed(format!("answered with more than {MOST} bytes")));
    }
    if !status.success() {
        let said = String::from_utf8_lossy(&output);
        let said = said.trim();
        if NOTHING.iter().any(|nothing| said.starts_with(nothing)) {
            return Ok(None);
        }
        let said: String = said.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect();
        return Err(failed(format!("failed ({status}): {said}")));
    }
    // Not its words: they may be a secret.
    let answer: Answer =
        serde_json::from_slice(&output).map_err(|_| failed("answered something else than JSON".to_owned()))?;
    Ok(match (answer.username.as_str(), answer.secret) {
        (_, secret) if secret.is_empty() => None,
        (TOKEN, token) => Some(Credential::Identity { token }),
        (user, password) => Some(Credential::Basic { user: user.to_owned(), password }),
    })
}

/// Reads what a program says until it ends; ends it where it takes too long, says too much, or the run is to end. `None`
/// where it did not end by itself or by that.
///
/// Not until the pipe ends: what the program leaves running may hold that open.
fn answer(child: &mut Child, output: &mut Vec<u8>, stop: &Stop) -> Option<ExitStatus> {
    let begun = Instant::now();
    let mut stdout = child.stdout.take()?;
    let mut piece = [0; 4096];
    loop {
        let ended = child.try_wait().ok()?;
        let patient = begun.elapsed() < PATIENCE && !stop.asked();
        if ended.is_none() && !patient {
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        let pause = if ended.is_some() { Duration::ZERO } else { GLANCE };
        let pause = Timespec { tv_sec: 0, tv_nsec: pause.subsec_nanos().into() };
        let mut watched = [PollFd::new(&stdout, PollFlags::IN)];
        let ready = poll(&mut watched, Some(&pause)).is_ok_and(|count| count > 0);
        let count = if ready { stdout.read(&mut piece).ok()? } else { 0 };
        output.extend_from_slice(&piece[..count]);
        if output.len() > MOST {
            let _ = child.kill();
            return child.wait().ok();
        }
        match ended {
            Some(status) if count == 0 => return Some(status),
            // It has closed its end, and goes on doing something.
            None if ready && count == 0 => std::thread::sleep(GLANCE),
            _ => {}
        }
    }
}
