//! What the recorded definitions reach over the network, on ports of our own, and the policy that leads there.

use std::fs;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::fetching_server::{Server, respond};

/// Everything that runs beside the cases; stopped on drop.
pub(crate) struct Services {
    http: Server,
    git: Option<Git>,
    /// Where an SSH agent listens: nobody speaks to it, but it is a socket.
    pub(crate) agent: PathBuf,
    _agent: UnixListener,
}

impl Services {
    /// Starts them for the corpus at `corpus`, with files of their own below `place`.
    pub(crate) fn start(corpus: &Path, place: &Path) -> Self {
        let www = corpus.join("www");
        let http = Server::start(move |request, stream| {
            let name = request.target.trim_start_matches('/').split('?').next().unwrap_or_default();
            match fs::read(www.join(name)) {
                // The time that the recording server told; the definition's result carries it.
                Ok(body) => respond(stream, "200 OK", &["Last-Modified: Fri, 15 Apr 2022 05:20:00 GMT"], &body),
                Err(_) => respond(stream, "404 Not Found", &[], b""),
            }
        });
        let agent = place.join("agent");
        let listener = UnixListener::bind(&agent).expect("a socket");
        Self { http, git: Git::start(&place.join("git")), agent, _agent: listener }
    }

    /// Tells whether there is a git daemon.
    pub(crate) const fn has_git(&self) -> bool {
        self.git.is_some()
    }

    /// Returns the source policy that leads the recorded identifiers to `base` and to these services.
    pub(crate) fn policy(&self, base: &str) -> Value {
        let convert = |from: &str, identifier: String, attrs: Value| {
            json!({
                "action": "CONVERT",
                "selector": {"identifier": from, "matchType": "WILDCARD"},
                "updates": {"identifier": identifier, "attrs": attrs},
            })
        };
        let mut rules = vec![
            convert("docker-image://127.0.0.1:5000/debian:bookworm*", base.to_owned(), json!({})),
            convert("http://127.0.0.1:8099/*", self.http.url("${1}"), json!({})),
        ];
        if let Some(git) = &self.git {
            let url = format!("git://127.0.0.1:{}/repo.git", git.port);
            let attrs = json!({"git.fullurl": url});
            rules.push(convert("git://127.0.0.1/repo.git#main", format!("{url}#main"), {
                // What the recorded repository said of itself went with it; ours has another first commit.
                json!({"git.fullurl": url, "git.checksum": git.commit})
            }));
            rules.push(convert("git://127.0.0.1/repo.git#v1:sub", format!("{url}#v1:sub"), attrs));
        }
        json!({"version": 1, "rules": rules})
    }
}

/// A git daemon over one repository.
struct Git {
    daemon: Child,
    port: u16,
    /// What `main` is.
    commit: String,
}

impl Git {
    fn start(place: &Path) -> Option<Self> {
        let work = place.join("work");
        fs::create_dir_all(work.join("sub")).expect("a directory");
        let git = |arguments: &[&str]| -> io::Result<String> {
            let mut command = Command::new("git");
            command.arg("-C").arg(&work).args(arguments);
            for who in ["AUTHOR", "COMMITTER"] {
                command.env(format!("GIT_{who}_NAME"), "corpus").env(format!("GIT_{who}_EMAIL"), "corpus@example.org");
                command.env(format!("GIT_{who}_DATE"), "1700000000 +0000");
            }
            command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null");
            let output = command.output()?;
            assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        };
        git(&["init", "-q", "-b", "main"]).ok()?;
        for (text, tag) in [("m\n", Some("v1")), ("m2\n", None)] {
            fs::write(work.join("f"), text).expect("a file");
            fs::write(work.join("sub/s"), "s\n").expect("a file");
            git(&["add", "."]).ok()?;
            git(&["commit", "-q", "-m", "a commit"]).ok()?;
            if let Some(tag) = tag {
                git(&["tag", tag]).ok()?;
            }
        }
        let commit = git(&["rev-parse", "main"]).ok()?;
        std::os::unix::fs::symlink(work.join(".git"), place.join("repo.git")).expect("a link");
        // The port was free a moment ago; whoever takes it meanwhile makes the daemon end and the case fail aloud.
        let port = TcpListener::bind("127.0.0.1:0").ok()?.local_addr().ok()?.port();
        // Not `git daemon`: that one starts the daemon as a child, which would outlive it.
        let daemon = Command::new(Path::new(&git(&["--exec-path"]).ok()?).join("git-daemon"))
            .args(["--export-all", "--listen=127.0.0.1", &format!("--port={port}")])
            .arg(format!("--base-path={}", place.display()))
            .arg(place)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut git = Self { daemon, port, commit };
        for _ in 0..100 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Some(git);
            }
            if !matches!(git.daemon.try_wait(), Ok(None)) {
                return None;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        None
    }
}

impl Drop for Git {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}
