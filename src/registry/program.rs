//! Programs that keep credentials: `docker-credential-<name> get`, the registry on standard input, JSON on standard
//! output (docker-credential-helpers, "Development").

use std::io::{self, Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
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
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if !name.bytes().all(plain) {
        return Err(failed(file, &program, server, "is no name of a program"));
    }
    ask_program(PATIENCE, &program, server, file, stop)
}

fn failed(file: &Path, program: &str, server: &str, reason: &str) -> RegistryError {
    let reason = format!("it names the program `{program}` for {server}, which {reason}");
    RegistryError::Credentials { path: file.to_owned(), reason }
}

fn ask_program(
    patience: Duration,
    program: &str,
    server: &str,
    file: &Path,
    stop: &Stop,
) -> Result<Option<Credential>, RegistryError> {
    let failed = |reason: String| failed(file, program, server, &reason);
    let spawned =
        Command::new(program).arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut child = spawned.map_err(|error| failed(format!("cannot be run: {error}")))?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not read it will say so in its own way.
        let _ = stdin.write_all(server.as_bytes());
    }
    let mut output = Vec::new();
    let status = match answer(&mut child, &mut output, patience, stop)
        .map_err(|error| failed(format!("cannot be heard: {error}")))?
    {
        Ended::Itself(status) => status,
        Ended::Late => return Err(failed(format!("did not answer within {} s and was ended", patience.as_secs_f32()))),
        Ended::Stopped => return Err(RegistryError::Stopped { what: format!("what `{program}` has for {server}") }),
    };
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
        let how = match status.signal() {
            Some(signal) => format!("was ended by signal {signal}"),
            None => format!("failed ({status})"),
        };
        return Err(failed(if said.is_empty() { how } else { format!("{how}: {said}") }));
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

/// How a program came to its end.
enum Ended {
    /// By itself, by somebody else's signal, or by ours because it said too much.
    Itself(ExitStatus),
    /// It took too long.
    Late,
    /// The run is to end.
    Stopped,
}

/// Reads what a program says until it ends; ends it where it takes too long, says too much, or the run is to end.
///
/// Not until the pipe ends: what the program leaves running may hold that open.
fn answer(child: &mut Child, output: &mut Vec<u8>, patience: Duration, stop: &Stop) -> io::Result<Ended> {
    let begun = Instant::now();
    let mut stdout = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let mut piece = [0; 4096];
    loop {
        let ended = child.try_wait()?;
        let end = match (begun.elapsed() < patience, stop.asked()) {
            (_, true) => Some(Ended::Stopped),
            (false, _) => Some(Ended::Late),
            _ => None,
        };
        if let (None, Some(end)) = (ended, end) {
            let _ = child.kill();
            let _ = child.wait();
            return Ok(end);
        }
        let pause = if ended.is_some() { Duration::ZERO } else { GLANCE };
        let pause = Timespec { tv_sec: 0, tv_nsec: pause.subsec_nanos().into() };
        let mut watched = [PollFd::new(&stdout, PollFlags::IN)];
        let ready = poll(&mut watched, Some(&pause)).is_ok_and(|count| count > 0);
        let count = if ready { stdout.read(&mut piece)? } else { 0 };
        output.extend_from_slice(&piece[..count]);
        if output.len() > MOST {
            let _ = child.kill();
            return child.wait().map(Ended::Itself);
        }
        match ended {
            Some(status) if count == 0 => return Ok(Ended::Itself(status)),
            // It has closed its end, and goes on doing something.
            None if ready && count == 0 => std::thread::sleep(GLANCE),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// What asking a program of this script says. Its path stands in the name, which `ask` itself does not allow.
    fn said(script: &str, stop: &Stop) -> RegistryError {
        let place = tempfile::TempDir::new().expect("a place");
        let path = place.path().join("program");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a program");
        let asked =
            ask_program(Duration::from_millis(300), &path.display().to_string(), "r.test", Path::new("c"), stop);
        asked.expect_err("no answer")
    }

    #[test]
    fn who_ended_a_program_is_said() {
        let never = Stop::default();
        for (script, words) in [
            ("kill -9 $$", "was ended by signal 9"),
            ("echo locked; kill -TERM $$", "was ended by signal 15: locked"),
            ("exec sleep 60", "did not answer within 0.3 s and was ended"),
            ("exit 3", "failed (exit status: 3)"),
        ] {
            let error = said(script, &never);
            assert!(matches!(error, RegistryError::Credentials { .. }), "{error}");
            assert!(error.to_string().ends_with(words), "{script}: {error}");
        }
        let error = said("exec sleep 60", &Stop::new(|| true));
        assert!(matches!(error, RegistryError::Stopped { .. }) && error.to_string().contains("r.test"), "{error}");
    }
}
