//! Frames over a Unix socket, with descriptors beside them (`unix(7)` `SCM_RIGHTS`).
//!
//! A frame is its length (four bytes, little endian) and that many bytes. Descriptors travel with the length.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

/// Descriptors that fit one frame; the kernel's `SCM_MAX_FD` is 253.
const DESCRIPTORS: usize = 64;

/// Longest frame accepted: plans carry arguments and environments, which the kernel itself limits to a few MiB.
const LONGEST: usize = 16 << 20;

/// Sends one frame.
///
/// # Errors
/// `InvalidInput` for too many descriptors or bytes; whatever the socket says otherwise.
pub fn send_frame(socket: &UnixStream, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    if bytes.len() > LONGEST || descriptors.len() > DESCRIPTORS {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the frame is too large"));
    }
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors"));
    }
    let sent = rustix::net::sendmsg(socket, &[IoSlice::new(&length)], &mut control, SendFlags::NOSIGNAL)?;
    let mut socket = socket;
    socket.write_all(&length[sent..])?;
    socket.write_all(bytes)
}

/// Receives one frame; `None` when the other side has closed before one began.
///
/// # Errors
/// `InvalidData` for a length that no honest peer sends, `UnexpectedEof` for a frame cut short.
pub fn recv_frame(socket: &UnixStream) -> io::Result<Option<(Vec<u8>, Vec<OwnedFd>)>> {
    let mut length = [0; 4];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        let mut parts = [IoSliceMut::new(&mut length)];
        match rustix::net::recvmsg(socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            other => break other?.bytes,
        }
    };
    if received == 0 {
        return Ok(None);
    }
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(more) = message {
            descriptors.extend(more);
        }
    }
    let mut socket = socket;
    socket.read_exact(&mut length[received..])?;
    let length = u32::from_le_bytes(length) as usize;
    if length > LONGEST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame is longer than any we send"));
    }
    let mut bytes = vec![0; length];
    socket.read_exact(&mut bytes)?;
    Ok(Some((bytes, descriptors)))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_frame_arrives_with_its_descriptors_and_the_end_is_seen() {
        let (near, far) = UnixStream::pair().expect("a pair");
        let (reader, writer) = io::pipe().expect("a pipe");
        send_frame(&near, b"plan", &[writer.as_fd()]).expect("sent");
        send_frame(&near, b"", &[]).expect("sent");
        let (bytes, mut descriptors) = recv_frame(&far).expect("received").expect("a frame");
        assert_eq!((bytes.as_slice(), descriptors.len()), (&b"plan"[..], 1));
        drop(writer);
        std::fs::File::from(descriptors.remove(0)).write_all(b"x").expect("the descriptor works");
        let mut got = String::new();
        { reader }.read_to_string(&mut got).expect("read");
        assert_eq!(got, "x");
        assert_eq!(recv_frame(&far).expect("received").expect("a frame").0, b"");
        drop(near);
        assert!(recv_frame(&far).expect("the end").is_none());
    }

    #[test]
    fn a_lying_length_is_refused() {
        let (near, far) = UnixStream::pair().expect("a pair");
        { &near }.write_all(&u32::MAX.to_le_bytes()).expect("sent");
        assert_eq!(recv_frame(&far).expect_err("refused").kind(), io::ErrorKind::InvalidData);
    }
}
