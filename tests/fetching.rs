//! Fetching: what a lock names arrives, verified, whatever servers do; nothing else does.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use dockless::oci::Digest;
use dockless::progress::{Event, Progress, Silent};
use dockless::source::{Origins, Patience, Pinned, SourceError, fetch};
use dockless::store::{Store, Stored};
use tempfile::TempDir;

use crate::fetching_server::{Server, cut, drip, ranged, respond, whole};

/// Enough for several pieces, with no period that a wrong offset could hide behind.
pub(crate) fn body() -> &'static [u8] {
    static BODY: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    BODY.get_or_init(|| {
        let mut state = 1_u32;
        std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        })
        .take(300_000)
        .collect()
    })
}

/// As many other bytes.
pub(crate) fn wrong() -> &'static [u8] {
    static WRONG: [u8; 300_000] = [b'!'; 300_000];
    &WRONG
}

pub(crate) fn pinned(origins: &[String]) -> Pinned {
    let digest = Digest::of(body());
    Pinned { file: "a_1.orig.tar.gz".to_owned(), digest, size: Some(300_000), origins: origins.to_vec() }
}

/// Impatient between attempts, patient with a busy machine.
pub(crate) fn origins() -> Origins {
    let patience = Patience {
        attempts: 3,
        pause: Duration::from_millis(5),
        longest: Duration::from_secs(3),
        connect: Duration::from_secs(20),
        idle: Duration::from_secs(20),
    };
    Origins { patience, ..Origins::default() }
}

pub(crate) struct Place {
    _root: TempDir,
    pub(crate) store: Store,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self::of(TempDir::new().expect("temporary directory"))
    }

    pub(crate) fn of(root: TempDir) -> Self {
        let store = Store::open(root.path()).expect("store");
        Self { _root: root, store }
    }

    pub(crate) fn part(&self) -> PathBuf {
        self.store.room("downloads").expect("room").join(format!("{}.part", Digest::of(body()).hex()))
    }

    pub(crate) fn fetch(&self, pinned: &Pinned, origins: &Origins) -> Result<Stored, SourceError> {
        fetch(&self.store, pinned, origins, &Silent, Digest::of(b"vertex"))
    }

    /// Fetches from `servers` in order and checks that the bytes are those that the lock names.
    pub(crate) fn arrives(&self, servers: &[&Server]) {
        let urls: Vec<String> = servers.iter().map(|server| server.url("a")).collect();
        let stored = self.fetch(&pinned(&urls), &origins()).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((stored.digest, stored.size), (Digest::of(body()), 300_000));
        assert_eq!(fs::read(self.store.path(&stored.digest)).expect("blob"), body());
        assert!(!self.part().exists(), "the partial download is gone");
    }
}

#[derive(Default)]
struct Seen {
    status: Mutex<Vec<(String, u64, Option<u64>)>>,
    notes: Mutex<Vec<String>>,
}

impl Progress for Seen {
    fn event(&self, event: &Event<'_>) {
        match event {
            Event::Status { id, current, total, .. } => {
                self.status.lock().expect("no panic").push(((*id).to_owned(), *current, *total));
            }
            Event::Note { message } => self.notes.lock().expect("no panic").push((*message).to_owned()),
            _ => {}
        }
    }
}

#[test]
fn progress_counts_the_bytes_of_each_file() {
    let (place, server, seen) = (Place::new(), Server::of(body()), Seen::default());
    let pinned = pinned(&[server.url("a")]);
    fetch(&place.store, &pinned, &origins(), &seen, Digest::of(b"vertex")).expect("fetched");
    let status = seen.status.lock().expect("no panic");
    assert!(status.iter().all(|(id, _, total)| id == "a_1.orig.tar.gz" && *total == Some(300_000)), "{status:?}");
    assert!(status.is_sorted_by_key(|(_, current, _)| *current));
    assert_eq!(status.last().map(|(_, current, _)| *current), Some(300_000));
}

#[test]
fn what_is_in_the_store_is_not_fetched_again() {
    let (place, server) = (Place::new(), Server::of(body()));
    place.arrives(&[&server]);
    place.arrives(&[&server]);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_cut_download_goes_on_where_it_was_cut() {
    let server = Server::start(|request, stream| match request.number {
        0 => cut(stream, body(), 100_000, "\"v1\""),
        _ => ranged(request, stream, body(), "\"v1\""),
    });
    Place::new().arrives(&[&server]);
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[1].start(), Some(100_000));
    assert_eq!(requests[1].headers.get("if-range").map(String::as_str), Some("\"v1\""));
}

#[test]
fn a_server_that_ignores_ranges_works_too() {
    let server = Server::start(|request, stream| match request.number {
        0 => cut(stream, body(), 100_000, "W/\"weak\""),
        _ => whole(stream, body()),
    });
    Place::new().arrives(&[&server]);
    assert_eq!(server.requests()[1].headers.get("if-range"), None, "a weak tag proves nothing");
}

#[test]
fn a_file_that_changed_on_its_server_is_begun_anew() {
    let server = Server::start(|request, stream| match request.number {
        0 => cut(stream, &vec![b'x'; 300_000], 100_000, "\"old\""),
        _ => ranged(request, stream, body(), "\"new\""),
    });
    Place::new().arrives(&[&server]);
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn another_origin_goes_on_with_what_the_first_began() {
    let first = Server::start(|request, stream| match request.number {
        0 => cut(stream, body(), 100_000, "\"v1\""),
        _ => respond(stream, "404 Not Found", &["Content-Length: 0"], b""),
    });
    let second = Server::of(body());
    Place::new().arrives(&[&first, &second]);
    assert_eq!(second.requests()[0].start(), Some(100_000));
}

#[test]
fn a_beginning_that_does_not_fit_is_dropped() {
    let (place, server) = (Place::new(), Server::of(body()));
    for leftover in [100_usize, 300_000, 400_000] {
        fs::write(place.part(), vec![b'?'; leftover]).expect("a leftover");
        place.arrives(&[&server]);
        fs::remove_file(place.store.path(&Digest::of(body()))).expect("the blob");
    }
}

#[test]
fn a_range_that_was_not_asked_for_is_not_taken() {
    let server = Server::start(|request, stream| match request.start() {
        Some(_) => {
            let headers = ["Content-Range: bytes 7-299999/300000", "Content-Length: 299993"];
            respond(stream, "206 Partial Content", &headers, &body()[7..]);
        }
        None if request.number == 0 => cut(stream, body(), 100_000, "\"v1\""),
        None => whole(stream, body()),
    });
    Place::new().arrives(&[&server]);
}

#[test]
fn a_busy_server_is_asked_again_when_it_says() {
    let server = Server::start(|request, stream| match request.number {
        0 => respond(stream, "503 Service Unavailable", &["Retry-After: 1", "Content-Length: 0"], b""),
        1 => respond(stream, "429 Too Many Requests", &["Content-Length: 0"], b""),
        _ => whole(stream, body()),
    });
    let begun = Instant::now();
    Place::new().arrives(&[&server]);
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn many_cuts_do_not_use_up_the_attempts_while_bytes_come() {
    let server = Server::start(|request, stream| {
        let start = request.start().unwrap_or(0);
        let range = format!("Content-Range: bytes {start}-299999/300000");
        let length = format!("Content-Length: {}", 300_000 - start);
        let status = if start > 0 { "206 Partial Content" } else { "200 OK" };
        respond(stream, status, &[&range, &length], &body()[start..(start + 70_000).min(300_000)]);
    });
    Place::new().arrives(&[&server]);
    assert_eq!(server.requests().len(), 5, "more than the three attempts without progress");
}

#[test]
fn an_origin_that_fails_is_followed_by_the_next() {
    let (missing, broken, good) = (
        Server::start(|_, stream| respond(stream, "404 Not Found", &["Content-Length: 0"], b"")),
        Server::start(|_, stream| respond(stream, "500 Internal Server Error", &["Content-Length: 0"], b"")),
        Server::of(body()),
    );
    Place::new().arrives(&[&missing, &broken, &good]);
    assert_eq!(missing.requests().len(), 1, "a file that is not there is not asked for again");
    assert_eq!(broken.requests().len(), 3);
}

#[test]
fn when_all_origins_fail_the_error_names_each_and_the_way_out() {
    let missing = Server::start(|_, stream| respond(stream, "404 Not Found", &["Content-Length: 0"], b""));
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
        format!("http://user:secret@{}/a", listener.local_addr().expect("an address"))
    };
    let urls = [missing.url("a"), closed, "debian:pool/main/a/a.deb".to_owned(), "ftp://old.test/a".to_owned()];
    let error = Place::new().fetch(&pinned(&urls), &origins()).expect_err("nobody has it");
    let error = format!("{error}\n{}", error.help().unwrap_or_default());
    for part in
        ["a_1.orig.tar.gz", "404", "refused", "(3 attempts)", "--debian-mirror", "ftp://old.test/a", "--source-dir"]
    {
        assert!(error.contains(part), "`{part}` in: {error}");
    }
    assert!(!error.contains("secret"), "{error}");
}

#[test]
fn wrong_bytes_are_refused_naming_both_digests() {
    let (place, server, other) = (Place::new(), Server::of(wrong()), Server::of(body()));
    let urls = [server.url("a"), other.url("a")];
    let error = place.fetch(&pinned(&urls), &origins()).expect_err("wrong bytes").to_string();
    let (expected, actual) = (Digest::of(body()).to_string(), Digest::of(wrong()).to_string());
    for part in [&expected, &actual, &urls[0]] {
        assert!(error.contains(part), "`{part}` in: {error}");
    }
    assert_eq!(place.store.contains(&Digest::of(wrong())), None);
    assert!(other.requests().is_empty(), "a wrong digest is looked at by somebody, not passed over");
}

#[test]
fn a_file_of_another_size_is_refused_before_it_comes() {
    let server = Server::of(&body()[..299_999]);
    let error = Place::new().fetch(&pinned(&[server.url("a")]), &origins()).expect_err("too short");
    assert!(matches!(error, SourceError::Size { expected: 300_000, actual: 299_999, .. }), "{error}");
}

#[test]
fn a_body_without_end_is_cut_off_at_the_size() {
    let server = Server::start(|_, stream| {
        respond(stream, "200 OK", &[], b"");
        while stream.write_all(wrong()).is_ok() {}
    });
    let place = Place::new();
    let error = place.fetch(&pinned(&[server.url("a")]), &origins()).expect_err("too long");
    assert!(matches!(error, SourceError::Size { more: true, .. }), "{error}");
    assert!(fs::metadata(place.part()).expect("a part").len() <= 300_000);
}

#[test]
fn an_early_end_without_a_length_is_noticed() {
    let server = Server::start(|request, stream| match request.number {
        0 => respond(stream, "200 OK", &[], &body()[..1000]),
        _ => ranged(request, stream, body(), "\"v1\""),
    });
    Place::new().arrives(&[&server]);
    assert_eq!(server.requests()[1].start(), Some(1000));
}

#[test]
fn a_silent_or_crawling_server_is_given_up() {
    let silent = Server::start(|_, _| thread::sleep(Duration::from_secs(4)));
    let crawling = Server::start(|_, stream| drip(stream, body(), Duration::from_millis(20)));
    let good = Server::of(body());
    let mut origins = origins();
    origins.patience.attempts = 2;
    origins.patience.connect = Duration::from_millis(400);
    origins.patience.idle = Duration::from_millis(400);
    let pinned = pinned(&[silent.url("a"), crawling.url("a")]);
    let error = Place::new().fetch(&pinned, &origins).expect_err("nothing comes").to_string();
    assert_eq!(error.matches("nothing came").count(), 2, "{error}");
    origins.patience.idle = Duration::from_secs(20);
    let good = Pinned { origins: vec![good.url("a")], ..pinned };
    Place::new().fetch(&good, &origins).expect("a good server");
}

#[test]
fn redirects_are_followed_but_never_out_of_http() {
    let good = Server::of(body());
    let target = good.url("moved");
    let redirecting = Server::start(move |request, stream| {
        let location = match request.target.as_str() {
            "/a" => format!("Location: {target}"),
            "/loop" => "Location: /loop".to_owned(),
            "/ftp" => "Location: ftp://old.test/a".to_owned(),
            _ => "Location: file:///etc/passwd".to_owned(),
        };
        respond(stream, "302 Found", &[&location, "Content-Length: 0"], b"");
    });
    Place::new().arrives(&[&redirecting]);
    for (path, word) in [("loop", "too many redirects"), ("ftp", "neither http: nor https:"), ("file", "302")] {
        let error = Place::new().fetch(&pinned(&[redirecting.url(path)]), &origins()).expect_err("refused");
        assert!(error.to_string().contains(word), "{error}");
    }
}

#[test]
fn a_name_that_is_not_a_file_name_is_refused() {
    for file in ["../a", "/etc/passwd", "", ".hidden"] {
        let pinned = Pinned { file: file.to_owned(), ..pinned(&[]) };
        let error = Place::new().fetch(&pinned, &origins()).expect_err("no file name");
        assert!(matches!(error, SourceError::FileName { .. }), "{error}");
    }
}

#[test]
fn retries_are_said_aloud() {
    let server = Server::start(|request, stream| match request.number {
        0 => respond(stream, "502 Bad Gateway", &["Content-Length: 0"], b""),
        _ => whole(stream, body()),
    });
    let (place, seen) = (Place::new(), Seen::default());
    let pinned = pinned(&[server.url("a")]);
    fetch(&place.store, &pinned, &origins(), &seen, Digest::of(b"vertex")).expect("fetched");
    let notes = seen.notes.lock().expect("no panic");
    assert!(notes.len() == 1 && notes[0].contains("502") && notes[0].contains("trying again"), "{notes:?}");
}
