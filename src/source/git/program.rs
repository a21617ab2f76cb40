//! Running `git`: a clean environment, bounded output, an end when the run is to end.

use std::ffi::OsString;
use std::io::Read;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::error::GitError;
use crate::http::Proxies;
use crate::source::origin::Origins;

/// Where programs are.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The most bytes kept of what it prints.
const OUTPUT: usize = 8 << 20;

/// The last bytes kept of what it complains about.
const COMPLAINTS: usize = 4096;

/// How often somebody who waits for it looks up.
const GLANCE: Duration = Duration::from_millis(5);

/// Settings that no repository can change.
const SETTINGS: [(&str, &str); 9] = [
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.autocrlf", "false"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("init.defaultBranch", "master"),
    ("advice.detachedHead", "false"),
    ("credential.helper", ""),
    // Repositories here are our own, whoever we are in our namespace.
    ("safe.directory", "*"),
];

/// `git` as it is run for one source.
pub(super) struct Program<'a> {
    pub(super) remote: String,
    pub(super) origins: &'a Origins,
    /// More settings; their values may be secrets.
    pub(super) settings: Vec<(String, String)>,
    pub(super) ssh_socket: Option<PathBuf>,
    pub(super) known_hosts: Option<PathBuf>,
    pub(super) allow_file: bool,
}

impl Program<'_> {
    /// Runs it and returns what it printed; it must succeed.
    pub(super) fn run(&self, action: &'static str, call: &Call<'_>) -> Result<String, GitError> {
        let (status, output, complaints) = self.try_run(call)?;
        if status.success() {
            return Ok(output);
        }
        if status.code() == Some(127) && complaints.contains("git") && complaints.contains("not found") {
            return Err(GitError::Missing { remote: self.remote.clone() });
        }
        let output = self.without_secrets(&complaints);
        Err(GitError::Failed { action, remote: self.remote.clone(), status: said(status), output })
    }

    /// Runs it and tells whether it succeeded.
    pub(super) fn succeeds(&self, call: &Call<'_>) -> Result<bool, GitError> {
        Ok(self.try_run(call)?.0.success())
    }

    fn try_run(&self, call: &Call<'_>) -> Result<(ExitStatus, String, String), GitError> {
        let mut command = self.command(call);
        let mut child = command.spawn().map_err(GitError::io("run", Path::new("git")))?;
        let output = child.stdout.take().map(|pipe| thread::spawn(move || collect(pipe, OUTPUT, false)));
        let complaints = child.stderr.take().map(|pipe| thread::spawn(move || collect(pipe, COMPLAINTS, true)));
        let group = i32::try_from(child.id()).ok().map(Pid::from_raw);
        let mut stopped = false;
        let status = loop {
            match child.try_wait().map_err(GitError::io("wait for", Path::new("git")))? {
                Some(status) => break status,
                None if !stopped && self.origins.stopped() => {
                    stopped = true;
                    // Its helpers hold the pipes: all of them end.
                    if let Some(group) = group {
                        let _ = killpg(group, Signal::SIGKILL);
                    }
                }
                None => thread::sleep(GLANCE),
            }
        };
        let text = |reader: Option<thread::JoinHandle<Vec<u8>>>| {
            let bytes = reader.and_then(|reader| reader.join().ok()).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let (output, complaints) = (text(output), text(complaints));
        if stopped {
            return Err(GitError::Stopped { remote: self.remote.clone() });
        }
        Ok((status, output, complaints))
    }

    fn command(&self, call: &Call<'_>) -> Command {
        // The mask decides over the modes of a checkout, and only the child may have it.
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "umask 022 && exec git \"$@\"", "git"]);
        if let Some(directory) = call.git_dir {
            command.arg("--git-dir").arg(directory);
        }
        if let Some(directory) = call.work_tree {
            command.arg("--work-tree").arg(directory);
        }
        command.args(call.arguments).current_dir(call.work_tree.or(call.git_dir).unwrap_or(Path::new("/")));
        command.env_clear().envs(self.environment(call.own_files));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        command
    }

    fn environment(&self, own_files: bool) -> Vec<(OsString, OsString)> {
        let file = if self.allow_file { ":file" } else { "" };
        let protocols = if own_files { "file".to_owned() } else { format!("http:https:ssh:git{file}") };
        let mut environment: Vec<(OsString, OsString)> = [
            ("PATH", PATH),
            ("LC_ALL", "C"),
            ("HOME", "/dev/null"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_CONFIG_SYSTEM", "/dev/null"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_ATTR_NOSYSTEM", "1"),
            ("GIT_TERMINAL_PROMPT", "0"),
            ("GIT_ASKPASS", "/bin/false"),
            ("SSH_ASKPASS", "/bin/false"),
            ("GIT_LFS_SKIP_SMUDGE", "1"),
            ("GIT_ALLOW_PROTOCOL", &protocols),
        ]
        .map(|(name, value)| (name.into(), value.into()))
        .into();
        let Proxies { http, https, all, except } = &self.origins.proxies;
        for (name, value) in [("http_proxy", http), ("https_proxy", https), ("all_proxy", all), ("no_proxy", except)] {
            environment.extend(value.as_ref().map(|value| (name.into(), value.into())));
        }
        if let Some(socket) = &self.ssh_socket {
            environment.push(("SSH_AUTH_SOCK".into(), socket.into()));
        }
        environment.push(("GIT_SSH_COMMAND".into(), self.ssh().into()));
        let fixed = SETTINGS.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let all: Vec<(String, String)> = fixed.chain(self.settings.iter().cloned()).collect();
        environment.push(("GIT_CONFIG_COUNT".into(), all.len().to_string().into()));
        for (index, (key, value)) in all.into_iter().enumerate() {
            environment.push((format!("GIT_CONFIG_KEY_{index}").into(), key.into()));
            environment.push((format!("GIT_CONFIG_VALUE_{index}").into(), value.into()));
        }
        environment
    }

    /// The shell splits this; the only word that is not ours is quoted.
    fn ssh(&self) -> String {
        let base = "ssh -F /dev/null -o BatchMode=yes -o IdentityFile=none";
        match &self.known_hosts {
            Some(path) => {
                let path = path.to_string_lossy().replace('\'', "'\\''");
                format!("{base} -o StrictHostKeyChecking=yes -o 'UserKnownHostsFile=\"{path}\"'")
            }
            None => format!("{base} -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"),
        }
    }

    fn without_secrets(&self, text: &str) -> String {
        let shown = text.trim().lines().map(crate::http::without_credentials).collect::<Vec<_>>().join("\n");
        let secrets = self.settings.iter().map(|(_, value)| value).filter(|value| value.len() > 4);
        secrets.fold(shown, |text, secret| text.replace(secret.as_str(), "***"))
    }
}

/// One call.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Call<'a> {
    pub(super) git_dir: Option<&'a Path>,
    pub(super) work_tree: Option<&'a Path>,
    /// Whether it reads a repository of the store, and nothing else.
    pub(super) own_files: bool,
    pub(super) arguments: &'a [&'a str],
}

/// Reads to the end and keeps the first or the last bytes.
fn collect(mut pipe: impl Read, most: usize, last: bool) -> Vec<u8> {
    let (mut kept, mut piece) = (Vec::new(), [0; 8192]);
    while let Ok(count @ 1..) = pipe.read(&mut piece) {
        if last || kept.len() < most {
            kept.extend_from_slice(&piece[..count]);
        }
        if last && kept.len() > 2 * most {
            kept.drain(..kept.len() - most);
        }
    }
    let from = if last { kept.len().saturating_sub(most) } else { 0 };
    kept.truncate(from + most);
    kept.split_off(from)
}

fn said(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "no exit code".to_owned(),
    }
}
