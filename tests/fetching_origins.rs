//! Fetching: where files may come from, many at a time, and what an interrupted run leaves to the next.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use dockless::oci::Digest;
use dockless::progress::Silent;
use dockless::source::{Origins, Pinned, Proxies, SourceError, Stop, fetch, fetch_all};
use dockless::store::Store;
use tempfile::TempDir;

use crate::fetching::{Place, body, origins, pinned, wrong};
use crate::fetching_server::{Request, Server, cut, ranged, whole};

#[test]
fn a_directory_comes_before_any_server() {
    let (place, server) = (Place::new(), Server::of(body()));
    let directory = TempDir::new().expect("temporary directory");
    let origins = Origins { directories: vec![directory.path().to_owned()], ..origins() };
    fs::write(directory.path().join("a_1.orig.tar.gz"), wrong()).expect("a file");
    let error = place.fetch(&pinned(&[server.url("a")]), &origins).expect_err("wrong bytes");
    assert!(matches!(error, SourceError::Digest { .. }), "{error}");
    fs::write(directory.path().join("a_1.orig.tar.gz"), body()).expect("a file");
    place.fetch(&pinned(&[server.url("a")]), &origins).expect("from the directory");
    assert!(server.requests().is_empty());
}

#[test]
fn offline_never_touches_the_network_and_says_what_is_missing() {
    let (place, server) = (Place::new(), Server::of(body()));
    let directory = TempDir::new().expect("temporary directory");
    let origins = Origins {
        offline: true,
        directories: vec![directory.path().to_owned()],
        mirrors: vec![server.url("debian")],
        ..origins()
    };
    let pinned = pinned(&[server.url("a"), "debian:pool/a".to_owned()]);
    let error = place.fetch(&pinned, &origins).expect_err("not here");
    assert!(error.is_input() && error.help().is_some_and(|help| help.contains("--source-dir DIR")));
    let error = error.to_string();
    for part in ["a_1.orig.tar.gz", &pinned.digest.to_string(), "--source-dir", "--offline", &server.url("a")] {
        assert!(error.contains(part), "`{part}` in: {error}");
    }
    fs::write(directory.path().join("a_1.orig.tar.gz"), body()).expect("a file");
    place.fetch(&pinned, &origins).expect("from the directory");
    assert!(server.requests().is_empty());
}

#[test]
fn a_mirror_is_joined_with_the_path_in_its_pool() {
    let server = Server::of(body());
    let origins = Origins { mirrors: vec![server.url("debian/")], ..origins() };
    let pinned = pinned(&["debian:pool/main/a/a/a_1+2.deb".to_owned()]);
    Place::new().fetch(&pinned, &origins).expect("fetched");
    assert_eq!(server.requests()[0].target, "/debian/pool/main/a/a/a_1%2b2.deb");
}

#[test]
fn a_proxy_is_asked_unless_the_host_is_excepted() {
    let (proxy, direct) = (Server::of(body()), Server::of(body()));
    let mut origins = origins();
    let address = proxy.url("").replace("http://", "http://me:word@");
    origins.proxies = Proxies { http: Some(address), ..Proxies::default() };
    Place::new().fetch(&pinned(&["http://nowhere.test/a".to_owned()]), &origins).expect("through the proxy");
    let requests = proxy.requests();
    assert_eq!(requests[0].target, "http://nowhere.test/a");
    assert_eq!(requests[0].headers.get("proxy-authorization").map(String::as_str), Some("Basic bWU6d29yZA=="));
    origins.proxies.except = Some("127.0.0.0/8".to_owned());
    Place::new().fetch(&pinned(&[direct.url("a")]), &origins).expect("directly");
    assert_eq!((proxy.requests().len(), direct.requests().len()), (1, 1));
}

#[test]
fn many_files_come_side_by_side_but_not_more_than_wanted() {
    // Counted until the answer begins: who has it whole may ask for the next before we know that it is sent.
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counter, highest) = (Arc::clone(&now), Arc::clone(&most));
    let server = Server::start(move |request: &Request, stream| {
        highest.fetch_max(counter.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        thread::sleep(Duration::from_millis(30));
        counter.fetch_sub(1, Ordering::SeqCst);
        whole(stream, request.target.as_bytes());
    });
    let files: Vec<Pinned> = (0..24)
        .map(|number| {
            let path = format!("{number:03}");
            let digest = Digest::of(format!("/{path}").as_bytes());
            Pinned { file: path.clone(), digest, size: Some(4), origins: vec![server.url(&path)] }
        })
        .collect();
    let place = Place::new();
    let four = NonZeroUsize::new(4).expect("four");
    let stored = fetch_all(&place.store, &files, &origins(), four, (&Silent, Digest::of(b"v"))).expect("all");
    assert!(stored.iter().zip(&files).all(|(stored, file)| stored.digest == file.digest));
    let most = most.load(Ordering::SeqCst);
    assert!((2..=4).contains(&most), "{most} at a time");
}

#[test]
fn two_runs_fetch_a_file_once() {
    let server = Server::start(|_, stream| {
        thread::sleep(Duration::from_millis(200));
        whole(stream, body());
    });
    let place = Place::new();
    let pinned = pinned(&[server.url("a")]);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| place.fetch(&pinned, &origins()).expect("fetched"));
        }
    });
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_run_that_is_to_end_ends_soon_and_keeps_what_came() {
    let server = Server::start(|_, stream| {
        cut(stream, body(), 100_000, "\"v1\"");
        thread::sleep(Duration::from_secs(30));
    });
    let place = Place::new();
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&stop);
    let origins = Origins { stop: Stop::new(move || asked.load(Ordering::Relaxed)), ..origins() };
    let ender = {
        let (stop, part) = (Arc::clone(&stop), place.part());
        thread::spawn(move || {
            while fs::metadata(&part).map_or(0, |data| data.len()) < 100_000 {
                thread::sleep(Duration::from_millis(5));
            }
            stop.store(true, Ordering::Relaxed);
        })
    };
    let begun = Instant::now();
    let error = place.fetch(&pinned(&[server.url("a")]), &origins).expect_err("stopped");
    ender.join().expect("no panic");
    assert!(matches!(error, SourceError::Stopped { .. }), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert_eq!(fs::metadata(place.part()).expect("a part").len(), 100_000);
}

#[test]
fn waiting_for_another_run_ends_with_this_one() {
    let place = Place::new();
    let another = place.store.lock(&format!("fetch-{}", Digest::of(body()).hex())).expect("a lock");
    let begun = Instant::now();
    let origins = Origins { stop: Stop::new(move || begun.elapsed() > Duration::from_millis(100)), ..origins() };
    let error = place.fetch(&pinned(&[]), &origins).expect_err("stopped");
    assert!(matches!(error, SourceError::Stopped { .. }), "{error}");
    drop(another);
    let error = place.fetch(&pinned(&[]), &Origins::default()).expect_err("no origin");
    assert!(matches!(error, SourceError::Unavailable { .. }), "{error}");
}

/// The run that `a_killed_run_is_gone_on_with` kills; its input names the store and the URL.
#[test]
#[ignore = "started by another test"]
fn child_that_fetches() {
    let mut lines = std::io::stdin().lines().map_while(Result::ok);
    let (root, url) = (lines.next().expect("a store"), lines.next().expect("a URL"));
    let store = Store::open(PathBuf::from(root).as_path()).expect("store");
    let _ = fetch(&store, &pinned(&[url]), &origins(), &Silent, Digest::of(b"vertex"));
}

#[test]
fn a_killed_run_is_gone_on_with() {
    let server = Server::start(|request, stream| match request.number {
        0 => {
            cut(stream, body(), 100_000, "\"v1\"");
            thread::sleep(Duration::from_secs(30));
        }
        _ => ranged(request, stream, body(), "\"v1\""),
    });
    let root = TempDir::new().expect("temporary directory");
    let mut child = Command::new(std::env::current_exe().expect("this binary"))
        .args(["fetching_origins::child_that_fetches", "--exact", "--ignored", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("another process");
    writeln!(child.stdin.take().expect("stdin"), "{}\n{}", root.path().display(), server.url("a")).expect("input");
    let part = root.path().join("downloads").join(format!("{}.part", Digest::of(body()).hex()));
    let begun = Instant::now();
    while fs::metadata(&part).map_or(0, |data| data.len()) < 100_000 {
        assert!(begun.elapsed() < Duration::from_mins(1), "the other run fetches nothing");
        thread::sleep(Duration::from_millis(5));
    }
    // SIGKILL: nothing can tidy up.
    child.kill().expect("killed");
    child.wait().expect("gone");
    let _ = BufReader::new(child.stdout.take().expect("stdout")).lines().count();
    Place::of(root).arrives(&[&server]);
    assert_eq!(server.requests()[1].start(), Some(100_000));
}
