//! A connection inside a call: bytes in messages, both ways (BuildKit `session/grpchijack`).

use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use crate::buildkit::message::Piece;
use crate::grpc::{Receiving, Sending, Status};

/// Bytes of one message at most.
const PIECE: usize = 1 << 16;

/// Bytes that wait in each direction.
const PIPE: usize = 1 << 18;

/// Makes a connection of a call, and returns its end and what keeps it going; that returns when the call has ended.
pub(super) fn tunnel(
    mut sending: Sending,
    mut receiving: Receiving,
) -> (DuplexStream, impl Future<Output = Result<(), Status>>) {
    let (near, far) = tokio::io::duplex(PIPE);
    let (mut read, mut write) = tokio::io::split(far);
    let out = async move {
        let mut buffer = BytesMut::with_capacity(PIECE);
        while matches!(read.read_buf(&mut buffer).await, Ok(count) if count > 0) {
            sending.send(&Piece { data: buffer.split().freeze() }).await?;
            buffer.reserve(PIECE);
        }
        sending.finish();
        Ok(())
    };
    let back = async move {
        while let Some(piece) = receiving.next::<Piece>().await? {
            if write.write_all(&piece.data).await.is_err() {
                break;
            }
        }
        let _ = write.shutdown().await;
        Ok(())
    };
    let pump = async move {
        let both = tokio::try_join!(out, back);
        both.map(|((), ())| ())
    };
    (near, pump)
}
