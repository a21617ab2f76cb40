//! Ssh agents: bytes between a step's socket and the user's (BuildKit `session/sshforward`).

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::service::end;
use crate::buildkit::message::Piece;
use crate::grpc::{Call, Code, Status};

/// Bytes of one message.
const PIECE: usize = 1 << 15;

/// Connects a call with the agent that it names.
pub(super) async fn forward(call: Call, agents: &BTreeMap<String, PathBuf>) {
    let id = call.metadata("buildkit.ssh.id").into_iter().next().filter(|id| !id.is_empty());
    let id = id.unwrap_or_else(|| "default".to_owned());
    let Some(socket) = agents.get(&id) else {
        return call.refuse(&Status::new(Code::NotFound, format!("ssh agent {id} was not given")));
    };
    let stream = match UnixStream::connect(socket).await {
        Ok(stream) => stream,
        Err(error) => {
            let message = format!("ssh agent {id} does not answer at `{}`: {error}", socket.display());
            return call.refuse(&Status::new(Code::Unavailable, message));
        }
    };
    let Ok((mut receiving, mut sending)) = call.accept() else { return };
    let (mut read, mut write) = stream.into_split();
    let there = async {
        while let Some(piece) = receiving.next::<Piece>().await? {
            if write.write_all(&piece.data).await.is_err() {
                break;
            }
        }
        let _ = write.shutdown().await;
        Ok::<(), Status>(())
    };
    let back = async {
        let mut buffer = BytesMut::with_capacity(PIECE);
        while matches!(read.read_buf(&mut buffer).await, Ok(count) if count > 0) {
            sending.send(&Piece { data: buffer.split().freeze() }).await?;
            buffer.reserve(PIECE);
        }
        Ok::<(), Status>(())
    };
    // An agent that has closed its end has said all; one whose step is gone is asked nothing more.
    let result = tokio::select! {
        result = back => result,
        result = there => result,
    };
    end(sending, result);
}
