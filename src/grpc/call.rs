//! The two directions of one call.

use bytes::{Bytes, BytesMut};
use h2::client::ResponseFuture;
use h2::{RecvStream, SendStream};
use http::HeaderMap;
use prost::Message;

use super::message::{framed, unframed};
use super::status::{Code, Status};

/// What we send in a call.
#[derive(Debug)]
pub struct Sending(pub(super) SendStream<Bytes>);

impl Sending {
    /// Sends a message as soon as the other side has room for it.
    ///
    /// # Errors
    /// That the call or the connection has ended.
    pub async fn send(&mut self, message: &impl Message) -> Result<(), Status> {
        let mut bytes = framed(message);
        while !bytes.is_empty() {
            self.0.reserve_capacity(bytes.len());
            let room = match std::future::poll_fn(|context| self.0.poll_capacity(context)).await {
                Some(Ok(room)) => room,
                Some(Err(error)) => return Err(Status::of_h2(&error)),
                None => return Err(Status::broken("the call has ended")),
            };
            let piece = bytes.split_to(room.min(bytes.len()));
            self.0.send_data(piece, false).map_err(|error| Status::of_h2(&error))?;
        }
        Ok(())
    }

    /// Says that no more comes from the client of a call.
    pub fn finish(mut self) {
        // Fails only where the call has ended anyway.
        let _ = self.0.send_data(Bytes::new(), true);
    }

    /// Ends the call from the side of its server.
    pub(super) fn end(mut self, status: &Status) {
        let _ = self.0.send_trailers(status.trailers());
    }
}

/// Where the answer to a call is.
#[derive(Debug)]
enum Body {
    /// Its head has not come.
    Awaited(ResponseFuture),
    Coming(RecvStream),
    /// The head had the status.
    Ended(Status),
}

/// What comes in a call.
#[derive(Debug)]
pub struct Receiving {
    body: Body,
    buffer: BytesMut,
    /// We are the server: the client ends its half without a status.
    server: bool,
}

impl Receiving {
    pub(super) fn of_answer(answer: ResponseFuture) -> Self {
        Self { body: Body::Awaited(answer), buffer: BytesMut::new(), server: false }
    }

    pub(super) fn of_request(body: RecvStream) -> Self {
        Self { body: Body::Coming(body), buffer: BytesMut::new(), server: true }
    }

    /// Returns the next message; `None` at the end of a call that succeeded. May be dropped and called again.
    ///
    /// # Errors
    /// The status that the call ended with.
    pub async fn next<M: Message + Default>(&mut self) -> Result<Option<M>, Status> {
        loop {
            if let Some(message) = unframed(&mut self.buffer)? {
                return Ok(Some(message));
            }
            match &mut self.body {
                Body::Awaited(answer) => {
                    let answer = answer.await.map_err(|error| Status::of_h2(&error))?;
                    self.body = head(answer);
                }
                Body::Ended(status) => return status.clone().result().map(|()| None),
                Body::Coming(body) => match body.data().await {
                    Some(Ok(data)) => {
                        let _ = body.flow_control().release_capacity(data.len());
                        self.buffer.extend_from_slice(&data);
                    }
                    Some(Err(error)) => return Err(Status::of_h2(&error)),
                    None if self.server => return Ok(None),
                    None => {
                        let trailers = body.trailers().await.map_err(|error| Status::of_h2(&error))?;
                        let status = trailers.as_ref().and_then(Status::of_headers);
                        let none = || Status::broken("the answer broke off");
                        self.body = Body::Ended(status.unwrap_or_else(none));
                    }
                },
            }
        }
    }
}

/// Reads the head of an answer.
fn head(answer: http::Response<RecvStream>) -> Body {
    let (parts, body) = answer.into_parts();
    if let Some(status) = Status::of_headers(&parts.headers) {
        return Body::Ended(status);
    }
    if parts.status.as_u16() != 200 || !is_grpc(&parts.headers) {
        let message = format!("no gRPC server answers there, but one that says `{}`", parts.status);
        return Body::Ended(Status::new(Code::Unimplemented, message));
    }
    Body::Coming(body)
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get("content-type").is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}
