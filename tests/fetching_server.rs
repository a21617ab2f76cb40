//! A small real HTTP server on loopback that misbehaves on demand.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read as _, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// One request: its number from 0, method, target, headers (names in lower case) and body, if it says how long that is.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) number: usize,
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// Returns the start of `Range: bytes=N-`.
    pub(crate) fn start(&self) -> Option<usize> {
        self.headers.get("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }
}

/// A running server; stopped on drop. One thread and one request a connection.
pub(crate) struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    stop: Arc<AtomicBool>,
    listening: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(answer: impl Fn(&Request, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("an address");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::default();
        let answer = Arc::new(answer);
        let listening = {
            let (requests, stop) = (Arc::clone(&requests), Arc::clone(&stop));
            thread::spawn(move || {
                let stopped: &AtomicBool = &stop;
                for stream in listener.incoming().map_while(Result::ok) {
                    if stopped.load(Ordering::SeqCst) {
                        break;
                    }
                    let (requests, answer) = (Arc::clone(&requests), Arc::clone(&answer));
                    thread::spawn(move || {
                        let Some(request) = read(&stream, &requests) else { return };
                        answer(&request, &mut { stream });
                    });
                }
            })
        };
        Self { address, requests, stop, listening: Some(listening) }
    }

    /// Serves `body` under every path, with ranges.
    pub(crate) fn of(body: &'static [u8]) -> Self {
        Self::start(move |request, stream| ranged(request, stream, body, "\"v1\""))
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("no panic").clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(listening) = self.listening.take() {
            let _ = listening.join();
        }
    }
}

fn read(stream: &TcpStream, requests: &Mutex<Vec<Request>>) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut lines = reader.by_ref().lines().map_while(Result::ok);
    let first = lines.next()?;
    let (method, rest) = first.split_once(' ')?;
    let target = rest.split(' ').next()?.to_owned();
    let headers: BTreeMap<String, String> = lines
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned())))
        .collect();
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = Vec::new();
    let _ = reader.take(length).read_to_end(&mut body);
    let mut requests = requests.lock().expect("no panic");
    let request = Request { number: requests.len(), method: method.to_owned(), target, headers, body };
    requests.push(request.clone());
    Some(request)
}

/// Sends a head, and `body` behind it. The client may have gone away: that is its business.
pub(crate) fn respond(stream: &mut TcpStream, status: &str, headers: &[&str], body: &[u8]) {
    let mut head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n");
    for header in headers {
        head.push_str(header);
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).and_then(|()| stream.flush());
}

/// Sends all of `body`, whatever was asked for.
pub(crate) fn whole(stream: &mut TcpStream, body: &[u8]) {
    respond(stream, "200 OK", &[&format!("Content-Length: {}", body.len())], body);
}

/// Sends the head of all of `body`, and then only the first `count` bytes.
pub(crate) fn cut(stream: &mut TcpStream, body: &[u8], count: usize, tag: &str) {
    respond(stream, "200 OK", &[&format!("Content-Length: {}", body.len()), &format!("ETag: {tag}")], &body[..count]);
}

/// Sends what was asked for, as RFC 9110 wants it: ranges, and all of it when `If-Range` names another version.
pub(crate) fn ranged(request: &Request, stream: &mut TcpStream, body: &[u8], tag: &str) {
    let etag = format!("ETag: {tag}");
    let same = request.headers.get("if-range").is_none_or(|wanted| wanted == tag);
    match request.start().filter(|_| same) {
        Some(start) if start >= body.len() => {
            let range = format!("Content-Range: bytes */{}", body.len());
            respond(stream, "416 Range Not Satisfiable", &[&range, "Content-Length: 0"], b"");
        }
        Some(start) => {
            let range = format!("Content-Range: bytes {start}-{}/{}", body.len() - 1, body.len());
            let length = format!("Content-Length: {}", body.len() - start);
            respond(stream, "206 Partial Content", &[&range, &length, &etag], &body[start..]);
        }
        None => respond(stream, "200 OK", &[&format!("Content-Length: {}", body.len()), &etag], body),
    }
}

/// Sends the head of `body` and its bytes one at a time, one every `pause`.
pub(crate) fn drip(stream: &mut TcpStream, body: &[u8], pause: Duration) {
    respond(stream, "200 OK", &[&format!("Content-Length: {}", body.len())], b"");
    for byte in body {
        if stream.write_all(&[*byte]).and_then(|()| stream.flush()).is_err() {
            return;
        }
        thread::sleep(pause);
    }
}
