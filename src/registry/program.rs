//! Programs that keep credentials: `docker-credential-<name> get`, the registry on standard input, JSON on standard
//! output (docker-credential-helpers, "Development").

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, memfd_create};
use serde::Deserialize;

use super::credentials::Credential;
use super::error::RegistryError;
use crate::http::Stop;

/// The most bytes of an answer.
const MOST: u64 = 1 << 20;

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
    // Not a pipe: what the program leaves running may hold that open. Not a file: it may be a secret.
    let held = memfd_create("answer", MemfdFlags::CLOEXEC).map(File::from);
    let mut held = held.map_err(|error| failed(format!("has no place to answer to: {error}")))?;
    let stdout = held.try_clone().map_err(|error| failed(format!("has no place to answer to: {error}")))?;
    let spawned = Command::new(&program).arg("get").stdin(Stdio::piped()).stdout(stdout).stderr(Stdio::null()).spawn();
    let mut child = spawned.map_err(|error| failed(format!("cannot be run: {error}")))?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not read it will say so in its own way.
        let _ = stdin.write_all(server.as_bytes());
    }
    let status = wait(&mut child, &held, stop);
    let status = status.ok_or_else(|| failed(format!("did not answer within {} s", PATIENCE.as_secs())))?;
    let mut output = Vec::new();
    let read = held.rewind().and_then(|()| held.take(MOST + 1).read_to_end(&mut output));
    read.map_err(|error| failed(format!("gave an answer that cannot be read: {error}")))?;
    if output.len() as u64 > MOST {
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

/// Waits for the end, or ends it: `None` where it took too long, says too much, or the run is to end.
fn wait(child: &mut Child, held: &File, stop: &Stop) -> Option<ExitStatus> {
    let begun = Instant::now();
    loop {
        let bounded = || held.metadata().is_ok_and(|metadata| metadata.len() <= MOST);
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if begun.elapsed() < PATIENCE && !stop.asked() && bounded() => std::thread::sleep(GLANCE),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
        }
    }
}
