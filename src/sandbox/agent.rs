//! A socket for a step that leads to another one of the machine, such as that of an ssh agent.
//!
//! A step sees a socket by binding it (`Mount::Bind`), with the owner and mode that the step asks for (`ops.proto
//! SSHOpt`), which the machine's own socket has not. Hence a listener of ours, whose connections are passed on. Why not
//! a copy of the machine's socket with other permissions: a socket is its inode.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{AtFlags, Gid, Mode, Uid};
use rustix::io::Errno;

use super::end::Cancel;
use super::error::SandboxError;
use crate::ownership;
use crate::sys;

/// What is done to a socket that listens; its owner may have no id here.
const SET_UP: &str = "set up the socket";

/// How long an end may take to read what it is sent.
const PATIENCE: Duration = Duration::from_secs(5);

/// A listening socket each of whose connections leads to another socket; gone when dropped, with its connections.
#[derive(Debug)]
pub struct AgentSocket {
    path: PathBuf,
    stop: Cancel,
    thread: Option<JoinHandle<()>>,
}

impl AgentSocket {
    /// Listens at `name` in the existing directory `directory`, which only the builder should be able to enter, and
    /// passes connections on to the socket `target`. The listener gets this owner and these permission bits.
    ///
    /// # Errors
    /// `Io` where the socket cannot be made, `Setup` where its owner has no id here.
    pub fn start(
        directory: &Path,
        name: &str,
        target: &Path,
        (uid, gid): (u32, u32),
        mode: u32,
    ) -> Result<Self, SandboxError> {
        let path = directory.join(name);
        let io = |action| move |error: io::Error| (action, error);
        let stop = Cancel::new()?;
        let make = || -> Result<JoinHandle<()>, (&'static str, io::Error)> {
            let place = sys::open_path(directory).map_err(io("open the directory of the socket"))?;
            // A path of a socket has at most 107 bytes; this one is always short.
            let short = |name: &str| PathBuf::from(format!("/proc/self/fd/{}/{name}", place.as_raw_fd()));
            let listener = UnixListener::bind(short(name)).map_err(io("listen at the socket"))?;
            let finish = || -> io::Result<()> {
                give(&place, name, (uid, gid))?;
                rustix::fs::chmodat(&place, name, Mode::from_raw_mode(mode & 0o777), AtFlags::empty())?;
                listener.set_nonblocking(true)
            };
            let (target, stop) = (target.to_owned(), stop.clone());
            let started = finish().and_then(|()| {
                thread::Builder::new().name("agent".to_owned()).spawn(move || serve(&listener, &target, &stop))
            });
            started.map_err(|error| {
                let _ = fs::remove_file(short(name));
                (SET_UP, error)
            })
        };
        match make() {
            Ok(thread) => Ok(Self { path, stop, thread: Some(thread) }),
            Err((SET_UP, source)) => Err(SandboxError::agent(&path, source)),
            Err((action, source)) => Err(SandboxError::io(action, &path, source)),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for AgentSocket {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = fs::remove_file(&self.path);
    }
}

/// Waits until one of `watched` is readable or closed; `None` when it is over.
fn wait<const N: usize>(watched: [&OwnedFd; N], stop: &Cancel) -> Option<[bool; N]> {
    let stopped = stop.event();
    loop {
        let mut fds: Vec<PollFd<'_>> = watched.iter().map(|fd| PollFd::new(*fd, PollFlags::IN)).collect();
        fds.push(PollFd::from_borrowed_fd(stopped, PollFlags::IN));
        match poll(&mut fds, None) {
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => return None,
            Ok(_) if stop.is_cancelled() => return None,
            Ok(_) => {}
        }
        let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
        return Some(watched.map(|_| ready.next().unwrap_or_default()));
    }
}

/// Gives the socket `name` to its owner; one that has no id here is recorded, and is not needed to use it.
fn give(place: &OwnedFd, name: &str, (uid, gid): (u32, u32)) -> io::Result<()> {
    let ids = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    match rustix::fs::chownat(place, name, ids.0, ids.1, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::INVAL) => {
            let path = PathBuf::from(format!("/proc/self/fd/{}/{name}", place.as_raw_fd()));
            Ok(ownership::record_owner_of(&path, (uid, gid))?)
        }
        other => Ok(other?),
    }
}

fn serve(listener: &UnixListener, target: &Path, stop: &Cancel) {
    thread::scope(|scope| {
        let Ok(ear) = listener.as_fd().try_clone_to_owned() else { return };
        while wait([&ear], stop).is_some() {
            let Ok((near, _)) = listener.accept() else { continue };
            // An agent that is gone looks like one that hangs up.
            let Ok(far) = UnixStream::connect(target) else { continue };
            scope.spawn(move || {
                let _ = pass(&near, &far, stop);
            });
        }
    });
}

/// Passes bytes on in both directions until both sides have ended or all is over.
fn pass(near: &UnixStream, far: &UnixStream, stop: &Cancel) -> io::Result<()> {
    // Somebody who does not listen must not keep the socket for ever.
    for side in [near, far] {
        side.set_write_timeout(Some(PATIENCE))?;
    }
    let copies = [near.as_fd().try_clone_to_owned()?, far.as_fd().try_clone_to_owned()?];
    let mut open = [true, true];
    let mut buffer = vec![0; 16 << 10];
    // One direction after the other: an agent answers when it is asked.
    while open != [false, false] {
        let ready = match open {
            [true, true] => wait([&copies[0], &copies[1]], stop),
            [true, false] => wait([&copies[0]], stop).map(|[near]| [near, false]),
            _ => wait([&copies[1]], stop).map(|[far]| [false, far]),
        };
        let Some(ready) = ready else { return Ok(()) };
        for (at, (mut from, mut to)) in [(near, far), (far, near)].into_iter().enumerate() {
            if !ready[at] {
                continue;
            }
            match from.read(&mut buffer)? {
                0 => {
                    open[at] = false;
                    to.shutdown(Shutdown::Write)?;
                }
                length => to.write_all(&buffer[..length])?,
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};

    use super::*;

    #[test]
    fn connections_reach_the_agent_and_end_with_the_socket() {
        let dir = tempfile::tempdir().expect("a directory");
        let deep = dir.path().join("d".repeat(120));
        fs::create_dir(&deep).expect("made");
        let agent = UnixListener::bind(dir.path().join("agent")).expect("an agent");
        let target = dir.path().join("agent");
        let me = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        let socket = AgentSocket::start(&deep, "s", &target, me, 0o640).expect("a socket");
        let meta = fs::metadata(socket.path()).expect("there");
        assert!(meta.file_type().is_socket());
        assert_eq!(meta.permissions().mode() & 0o7777, 0o640);
        std::os::unix::fs::symlink(&deep, dir.path().join("short")).expect("made");
        let mut client = UnixStream::connect(dir.path().join("short/s")).expect("connected");
        client.write_all(b"ping").expect("sent");
        let (mut served, _) = agent.accept().expect("passed on");
        let mut got = [0; 4];
        served.read_exact(&mut got).expect("received");
        assert_eq!(&got, b"ping");
        served.write_all(b"pong!").expect("answered");
        let mut got = [0; 5];
        client.read_exact(&mut got).expect("received");
        assert_eq!(&got, b"pong!");
        let path = socket.path().to_owned();
        drop(socket);
        assert!(!path.exists());
        assert_eq!(client.read(&mut got).expect("the end"), 0);
    }
}
