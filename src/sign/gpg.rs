//! Running gpg (`gpg(1)`, `doc/DETAILS` of GnuPG for status lines and colon listings).

use std::ffi::OsStr;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::error::SignError;
use super::signer::{KEY_VARIABLE, PASSPHRASE_VARIABLE};

const PROGRAM: &str = "gpg";
const PREFIX: &str = "[GNUPG:] ";

/// The last letters kept of what it says.
const LAST_WORDS: usize = 400;

/// A gpg with its keys.
#[derive(Debug)]
pub(super) struct Gpg {
    /// Its directory; `None` for that of the user.
    home: Option<PathBuf>,
}

/// What it answered.
#[derive(Debug)]
pub(super) struct Answer {
    /// It ended well.
    pub(super) fine: bool,
    /// Its standard output without status lines.
    pub(super) out: Vec<u8>,
    /// Status lines: keyword and the rest.
    pub(super) status: Vec<(String, String)>,
    /// What it says to people.
    pub(super) said: String,
}

/// Where status lines come out: apart from what they must not be mixed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    /// On standard output, which holds nothing else: nobody else's text can pass for one.
    Output,
    /// Beside what gpg says, since standard output is the result.
    Error,
}

impl Gpg {
    pub(super) const fn of_user() -> Self {
        Self { home: None }
    }

    pub(super) fn at(home: &Path) -> Self {
        Self { home: Some(home.to_owned()) }
    }

    /// Runs it on `input`.
    pub(super) fn run<A: AsRef<OsStr>>(
        &self,
        status: Status,
        arguments: &[A],
        input: &[u8],
    ) -> Result<Answer, SignError> {
        let mut command = Command::new(PROGRAM);
        if let Some(home) = &self.home {
            // Nobody's options but ours.
            command.arg("--no-options").arg("--homedir").arg(home).env_remove("GNUPGHOME");
        }
        let fd = if status == Status::Output { "1" } else { "2" };
        command.args(["--batch", "--no-greeting", "--status-fd", fd]).args(arguments);
        // Its messages in words that we know; what it would inherit of ours is none of its business.
        command.env("LC_ALL", "C").env_remove(KEY_VARIABLE).env_remove(PASSPHRASE_VARIABLE);
        let output = fed(command, PROGRAM, input)?;
        let (out, error) = (output.stdout, String::from_utf8_lossy(&output.stderr).into_owned());
        let text = if status == Status::Output { String::from_utf8_lossy(&out).into_owned() } else { error.clone() };
        let parsed = text.lines().filter_map(|line| line.strip_prefix(PREFIX)).map(|line| {
            let (keyword, rest) = line.split_once(' ').unwrap_or((line, ""));
            (keyword.to_owned(), rest.to_owned())
        });
        let spoken: Vec<&str> = error.lines().filter(|line| !line.starts_with(PREFIX)).collect();
        let out = match status {
            Status::Error => out,
            Status::Output => without_status(&text),
        };
        Ok(Answer { fine: output.status.success(), status: parsed.collect(), said: last(&spoken.join(" ")), out })
    }
}

impl Answer {
    /// Returns the rest of the first status line with this keyword.
    pub(super) fn status(&self, keyword: &str) -> Option<&str> {
        self.status.iter().find(|(found, _)| found == keyword).map(|(_, rest)| rest.as_str())
    }

    pub(super) fn failed(&self) -> SignError {
        SignError::Failed { program: PROGRAM, said: self.said.clone() }
    }
}

fn without_status(text: &str) -> Vec<u8> {
    let kept = text.lines().filter(|line| !line.starts_with(PREFIX));
    kept.flat_map(|line| [line, "\n"]).collect::<String>().into_bytes()
}

/// Runs a program on `input`, which it reads while we read what it says.
pub(super) fn fed(
    mut command: Command,
    program: &'static str,
    input: &[u8],
) -> Result<std::process::Output, SignError> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|source| match source.kind() {
        ErrorKind::NotFound => SignError::NoProgram { program },
        _ => SignError::Io { action: "run", path: program.into(), source },
    })?;
    let mut stdin = child.stdin.take().expect("it was asked for");
    std::thread::scope(|scope| {
        // Whoever does not want it closes the pipe; the outcome tells what became of it.
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output().map_err(SignError::io("wait for", Path::new(program)))
    })
}

/// Makes one line of what a program said, and keeps its end.
pub(super) fn last(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let words: Vec<&str> = line.split_whitespace().collect();
    let line = words.join(" ");
    let start = line.char_indices().rev().nth(LAST_WORDS - 1).map_or(0, |(at, _)| at);
    line[start..].to_owned()
}
