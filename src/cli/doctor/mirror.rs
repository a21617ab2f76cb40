//! Asking a mirror whether it is there, within a short time.
//!
//! Plain HTTP is asked for the head of a file that every mirror has; of HTTPS only the connection is tried, because a
//! question of a second is no place for certificates: a fetch tells about those.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::facts::Answer;

/// How long an answer is waited for in all.
const PATIENCE: Duration = Duration::from_secs(4);
/// A file of every Debian mirror that carries bookworm.
const FILE: &str = "dists/bookworm/Release";
/// Most bytes of an answer's first line that are read.
const LINE: u64 = 1024;

/// Asks the mirror at `url`, through `proxy` where one is given (`http://host:port`).
pub(super) fn ask(url: &str, proxy: Option<&str>) -> Answer {
    if let Some(path) = url.strip_prefix("file://").or_else(|| url.strip_prefix("file:")) {
        return directory(Path::new(path));
    }
    let (sender, receiver) = mpsc::channel();
    let (url, proxy) = (url.to_owned(), proxy.map(str::to_owned));
    let start = Instant::now();
    // Resolving a name cannot be told to hurry: a thread that is late is left behind.
    let asked = thread::Builder::new().name("mirror".to_owned()).spawn(move || {
        let _ = sender.send(question(&url, proxy.as_deref()));
    });
    let answer = asked.map_err(|error| error.to_string()).and_then(|_| {
        receiver.recv_timeout(PATIENCE).unwrap_or_else(|_| Err(format!("no answer within {} s", PATIENCE.as_secs())))
    });
    match answer {
        Ok(()) => Answer::Reached(start.elapsed()),
        Err(reason) => Answer::Failed(reason),
    }
}

fn directory(path: &Path) -> Answer {
    let start = Instant::now();
    match path.join("pool").read_dir() {
        Ok(_) => Answer::Reached(start.elapsed()),
        Err(error) => Answer::Failed(format!("`{}`: {error}", path.join("pool").display())),
    }
}

/// Splits `http://user@host:port/path` into the host with its port, and the path.
fn place(url: &str, default_port: u16) -> Option<(String, String)> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let (authority, path) = rest.split_once('/').map_or((rest, ""), |(authority, path)| (authority, path));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if host.is_empty() || host.contains(|c: char| c.is_control() || c == ' ') {
        return None;
    }
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let host = if has_port { host.to_owned() } else { format!("{host}:{default_port}") };
    Some((host, format!("/{}", path.trim_end_matches('/'))))
}

fn question(url: &str, proxy: Option<&str>) -> Result<(), String> {
    let encrypted = url.starts_with("https://");
    if !encrypted && !url.starts_with("http://") {
        return Err("neither http, https nor file".to_owned());
    }
    let (host, path) = place(url, if encrypted { 443 } else { 80 }).ok_or("not an address")?;
    let through = proxy.and_then(|proxy| place(proxy, 80)).map(|(host, _)| host);
    let peer = through.as_ref().unwrap_or(&host);
    let mut stream = connect(peer)?;
    if encrypted {
        return Ok(());
    }
    let path = path.trim_end_matches('/');
    let target = if through.is_some() { format!("http://{host}{path}/{FILE}") } else { format!("{path}/{FILE}") };
    let name = host.strip_suffix(":80").unwrap_or(&host);
    let request = format!("HEAD {target} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(|error| error.to_string())?;
    let mut line = Vec::new();
    BufReader::new(stream).take(LINE).read_until(b'\n', &mut line).map_err(|error| error.to_string())?;
    status(&line)
}

fn connect(peer: &str) -> Result<TcpStream, String> {
    let addresses = peer.to_socket_addrs().map_err(|error| format!("`{peer}`: {error}"))?;
    let mut reason = format!("`{peer}` has no address");
    for address in addresses {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => {
                let patient =
                    stream.set_read_timeout(Some(PATIENCE)).and_then(|()| stream.set_write_timeout(Some(PATIENCE)));
                return patient.map(|()| stream).map_err(|error| error.to_string());
            }
            Err(error) => reason = format!("{address}: {error}"),
        }
    }
    Err(reason)
}

/// Judges the first line of an answer, e.g. `HTTP/1.1 200 OK`.
fn status(line: &[u8]) -> Result<(), String> {
    let line = String::from_utf8_lossy(line);
    let code = line.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)).and_then(|code| code.parse::<u16>().ok());
    match code {
        Some(200..400) => Ok(()),
        Some(_) => Err(format!("answers `{}` for {FILE}", line.trim())),
        None => Err("answers, but not as a web server".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Serves one connection with `answer` and returns its address and what was asked.
    fn serve(answer: &'static str) -> (String, thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
        let address = listener.local_addr().expect("a bound socket").to_string();
        let served = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut asked = String::new();
            BufReader::new(&stream).read_line(&mut asked).expect("a request");
            stream.write_all(answer.as_bytes()).expect("a reader");
            asked
        });
        (address, served)
    }

    #[test]
    fn a_mirror_that_has_bookworm_is_reached() {
        let (address, served) = serve("HTTP/1.1 200 OK\r\n\r\n");
        let answer = ask(&format!("http://{address}/debian/"), None);
        assert!(matches!(answer, Answer::Reached(_)), "{answer:?}");
        assert_eq!(served.join().expect("served"), "HEAD /debian/dists/bookworm/Release HTTP/1.1\r\n");
    }

    #[test]
    fn a_proxy_is_asked_for_the_whole_address() {
        let (address, served) = serve("HTTP/1.0 302 Found\r\n\r\n");
        let answer = ask("http://mirror.example/debian", Some(&format!("http://user:secret@{address}")));
        assert!(matches!(answer, Answer::Reached(_)), "{answer:?}");
        let asked = served.join().expect("served");
        assert_eq!(asked, "HEAD http://mirror.example:80/debian/dists/bookworm/Release HTTP/1.1\r\n");
    }

    #[test]
    fn what_is_no_mirror_is_told_from_one() {
        for answer in ["HTTP/1.1 404 Not Found\r\n\r\n", "SSH-2.0-x\r\n", ""] {
            let (address, served) = serve(answer);
            assert!(matches!(ask(&format!("http://{address}"), None), Answer::Failed(_)), "{answer}");
            served.join().expect("served");
        }
        for url in ["http://", "ftp://x", "http://a b/", "file:///nowhere/at/all"] {
            assert!(matches!(ask(url, None), Answer::Failed(_)), "{url}");
        }
    }
}
