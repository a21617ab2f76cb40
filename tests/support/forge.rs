//! Servers on loopback that speak what forges document (`docs.github.com rest/releases`, `docs.gitlab.com
//! api/releases`), and misbehave on demand.

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::sync::{Arc, Mutex, MutexGuard};

use dockless::dist::Dist;
use dockless::forge::{Api, Dialect, Header, Server as Forge, Token};
use dockless::http::{Settings, Trust};
use dockless::oci::Digest;
use dockless::publish::Publication;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fetching_server::{Request, Server, respond};

/// The token that servers know.
pub(crate) const TOKEN: &str = "s3cret-token-of-the-tests";
/// One that may only read.
pub(crate) const READER: &str = "r3ader-token-of-the-tests";
/// The commit of releases.
pub(crate) const COMMIT: &str = "1111111111111111111111111111111111111111";
/// Another one.
pub(crate) const OTHER: &str = "2222222222222222222222222222222222222222";
/// The tag of releases.
pub(crate) const TAG: &str = "release-2026-11-26";

/// What a server does with a request beside what it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Odd {
    /// Nothing.
    No,
    /// Answers with this status, and does nothing.
    Status(&'static str),
    /// Does it, and hangs up without an answer.
    Lost,
    /// Takes half of what is sent, and says that it has trouble.
    Half,
    /// Hangs up at once.
    HangsUp,
}

/// A release of two tarballs with everything around, as it lies on disk.
pub(crate) fn dist() -> TempDir {
    let place = TempDir::new().expect("a place");
    let write = |name: &str, text: &[u8]| std::fs::write(place.path().join(name), text).expect("written");
    for arch in ["x86_64", "x86"] {
        let stem = format!("release-3.12-{arch}");
        let tarball = format!("tarball of {arch} ").repeat(2000);
        write(&format!("{stem}.tar.gz"), tarball.as_bytes());
        let sum = format!("{}  {stem}.tar.gz\n", Digest::of(tarball.as_bytes()).hex());
        write(&format!("{stem}.tar.gz.sha256"), sum.as_bytes());
        write(&format!("{stem}.spdx.json"), b"{}");
    }
    write("RELEASE_NOTES.md", b"# Notes\n");
    seal(&place);
    place
}

/// Writes the sums of what a directory holds.
pub(crate) fn seal(place: &TempDir) {
    let mut sums = BTreeMap::new();
    for entry in std::fs::read_dir(place.path()).expect("listed").flatten() {
        let name = entry.file_name().into_string().expect("text");
        if ![".sha256", ".asc", ".sigstore.json", "SHA256SUMS"].iter().any(|ending| name.ends_with(ending)) {
            sums.insert(name, Digest::of(&std::fs::read(entry.path()).expect("read")));
        }
    }
    std::fs::write(place.path().join("SHA256SUMS"), dockless::dist::render(&sums)).expect("written");
}

/// The release of a directory.
pub(crate) fn publication(dist: &Dist) -> Publication<'_> {
    Publication {
        dist,
        tag: TAG.to_owned(),
        commit: Some(COMMIT.to_owned()),
        title: TAG.to_owned(),
        notes: "# Notes\n".to_owned(),
        prerelease: false,
        signed: false,
        replace: false,
        draft: false,
        now: now(),
    }
}

/// Seconds since 1970.
#[expect(clippy::disallowed_methods, reason = "files of tests are of now")]
pub(crate) fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH).expect("after 1970");
    since.as_secs().cast_signed()
}

/// The right time, as a header says it.
pub(crate) fn date() -> String {
    let now = jiff::Timestamp::from_second(now()).expect("a time").to_zoned(jiff::tz::TimeZone::UTC);
    jiff::fmt::rfc2822::to_string(&now).expect("a date")
}

/// A hurried client.
pub(crate) fn api(server: &Server, dialect: Dialect, header: Header, token: &str) -> Api {
    let mut settings = Settings::default();
    settings.patience.pause = std::time::Duration::from_millis(1);
    settings.patience.longest = std::time::Duration::from_millis(20);
    settings.patience.attempts = 4;
    let path = match dialect {
        Dialect::GitLab => "api/v4",
        Dialect::Gitea => "api/v1",
        Dialect::GitHub | Dialect::Plain => "",
    };
    let forge = Forge { address: server.url(path), dialect, trust: Trust::default() };
    Api::new(&settings, &forge, Some(Token::new(header, token, "the tests").expect("a token"))).expect("a client")
}

/// A file that a server has.
#[derive(Debug, Clone)]
pub(crate) struct File {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) whole: bool,
}

/// A release that a server has.
#[derive(Debug, Clone)]
pub(crate) struct Release {
    pub(crate) id: u64,
    pub(crate) tag: String,
    pub(crate) draft: bool,
    pub(crate) document: Value,
    pub(crate) files: Vec<File>,
}

/// What a server has.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) next: u64,
    pub(crate) releases: Vec<Release>,
    /// Commits of tags.
    pub(crate) tags: BTreeMap<String, String>,
    /// GitLab's package files, by version.
    pub(crate) packages: Vec<(String, File)>,
    /// When they were made, by version.
    pub(crate) created: BTreeMap<String, String>,
    /// GitLab's links.
    pub(crate) links: Vec<(u64, Value)>,
    /// Says no digests.
    pub(crate) mute: bool,
    pub(crate) immutable: bool,
    /// Its time, as a header says it.
    pub(crate) date: Option<String>,
}

impl State {
    fn id(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let files = self.releases.iter().flat_map(|release| &release.files).chain(self.packages.iter().map(|it| &it.1));
        let mut names: Vec<String> = files.filter(|file| file.whole).map(|file| file.name.clone()).collect();
        names.sort();
        names
    }
}

/// A running server and what it has.
pub(crate) struct Hub {
    pub(crate) server: Server,
    state: Arc<Mutex<State>>,
}

type Answered = (&'static str, Value);

impl Hub {
    pub(crate) fn github(state: State, odd: impl Fn(&Request) -> Odd + Send + Sync + 'static) -> Self {
        Self::start(state, odd, super::forge_github::answer)
    }

    pub(crate) fn gitlab(state: State, odd: impl Fn(&Request) -> Odd + Send + Sync + 'static) -> Self {
        Self::start(state, odd, super::forge_gitlab::answer)
    }

    pub(crate) fn gitea(state: State, odd: impl Fn(&Request) -> Odd + Send + Sync + 'static) -> Self {
        Self::start(state, odd, super::forge_gitea::answer)
    }

    fn start(
        state: State,
        odd: impl Fn(&Request) -> Odd + Send + Sync + 'static,
        answer: fn(&mut State, &Request, bool) -> Answered,
    ) -> Self {
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        let server = Server::start(move |request, stream| {
            let odd = odd(request);
            let mut state = shared.lock().expect("no panic");
            let date = state.date.clone();
            let (status, body) = match odd {
                Odd::Status(status) => (status, json!({ "message": "as the test wants" })),
                Odd::HangsUp => return,
                Odd::Half => {
                    answer(&mut state, request, true);
                    ("502 Bad Gateway", json!({ "message": "half" }))
                }
                Odd::No | Odd::Lost => answer(&mut state, request, false),
            };
            drop(state);
            if odd != Odd::Lost {
                say(stream, status, &body, date.as_deref());
            }
        });
        Self { server, state }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic")
    }

    /// Requests that change something.
    pub(crate) fn writes(&self) -> usize {
        self.server.requests().iter().filter(|request| request.method != "GET").count()
    }
}

fn say(stream: &mut TcpStream, status: &str, body: &Value, date: Option<&str>) {
    let bytes = match body {
        Value::Null => Vec::new(),
        // Bytes of a file.
        Value::String(text) => text.clone().into_bytes(),
        other => other.to_string().into_bytes(),
    };
    let mut headers = vec![format!("Content-Length: {}", bytes.len()), "Content-Type: application/json".to_owned()];
    headers.extend(date.map(|date| format!("Date: {date}")));
    let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
    respond(stream, status, &headers, &bytes);
}

/// Path segments and the query of a request.
pub(crate) fn target(request: &Request) -> (Vec<String>, BTreeMap<String, String>) {
    let url = reqwest::Url::parse(&format!("http://h{}", request.target)).expect("a URL");
    let decode = |text: &str| {
        let pair = format!("http://h/?x={}", text.replace('+', "%2B"));
        let pair = reqwest::Url::parse(&pair).expect("a URL");
        pair.query_pairs().next().map(|(_, value)| value.into_owned()).unwrap_or_default()
    };
    let segments = url.path_segments().expect("segments").map(decode).collect();
    let query = url.query_pairs().map(|(key, value)| (key.into_owned(), value.into_owned())).collect();
    (segments, query)
}

pub(crate) fn missing() -> Answered {
    ("404 Not Found", json!({ "message": "Not Found" }))
}

impl State {
    /// Takes a file, or half of it.
    pub(crate) fn take(&mut self, name: &str, bytes: &[u8], half: bool) -> File {
        let bytes = if half { &bytes[..bytes.len() / 2] } else { bytes };
        File { id: self.id(), name: name.to_owned(), bytes: bytes.to_vec(), whole: !half }
    }

    pub(crate) fn new_id(&mut self) -> u64 {
        self.id()
    }
}
