//! Calls over one connection.

use std::time::Duration;

use bytes::Bytes;
use h2::Ping;
use h2::client::{self, SendRequest};
use http::{HeaderName, HeaderValue, Method, Request, Version};
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};

use super::call::{Receiving, Sending};
use super::status::{Code, Status};

/// How often a silent connection is asked whether it is still there.
const PING: Duration = Duration::from_secs(10);

/// How long it may take to answer.
pub const SILENCE: Duration = Duration::from_secs(20);

/// Bytes that may be under way in one call, and in all of them.
pub(super) const WINDOWS: (u32, u32) = (1 << 20, 4 << 20);

/// One connection to a server. Cheap to clone; it ends with the last clone.
#[derive(Debug, Clone)]
pub struct Channel {
    sender: SendRequest<Bytes>,
    authority: String,
}

impl Channel {
    /// Begins HTTP/2 on a connection; `authority` is what the server is called in requests.
    ///
    /// # Errors
    /// That the other side speaks something else, or is gone.
    pub async fn begin<T>(io: T, authority: &str) -> Result<Self, Status>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut builder = client::Builder::new();
        builder.initial_window_size(WINDOWS.0).initial_connection_window_size(WINDOWS.1).enable_push(false);
        let (sender, mut connection) = builder.handshake(io).await.map_err(|error| Status::of_h2(&error))?;
        let mut pings = connection.ping_pong().expect("asked for once");
        tokio::spawn(async move {
            let alive = async {
                loop {
                    tokio::time::sleep(PING).await;
                    let pong = tokio::time::timeout(SILENCE, pings.ping(Ping::opaque())).await;
                    if !matches!(pong, Ok(Ok(_))) {
                        return;
                    }
                }
            };
            // Whoever waits for an answer learns of the end by the connection being dropped.
            tokio::select! {
                _ = connection => {}
                () = alive => {}
            }
        });
        Ok(Self { sender, authority: authority.to_owned() })
    }

    /// Begins a call in which both sides may send any number of messages.
    ///
    /// # Errors
    /// That the connection has ended.
    pub async fn open(&self, path: &str, metadata: &[(&str, &str)]) -> Result<(Sending, Receiving), Status> {
        let mut request = Request::builder()
            .method(Method::POST)
            .version(Version::HTTP_2)
            .uri(format!("http://{}{path}", self.authority))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("user-agent", concat!("dockless/", env!("CARGO_PKG_VERSION")))
            .body(())
            .map_err(|error| Status::new(Code::Internal, error.to_string()))?;
        for (name, value) in metadata {
            let name = HeaderName::from_bytes(name.as_bytes());
            let value = HeaderValue::from_str(value);
            if let (Ok(name), Ok(value)) = (name, value) {
                request.headers_mut().append(name, value);
            }
        }
        let mut sender = self.sender.clone().ready().await.map_err(|error| Status::of_h2(&error))?;
        let (answer, sending) = sender.send_request(request, false).map_err(|error| Status::of_h2(&error))?;
        Ok((Sending(sending), Receiving::of_answer(answer)))
    }

    /// Makes a call with one message each way.
    ///
    /// # Errors
    /// The status that the call ended with.
    pub async fn call<A: Message + Default>(
        &self,
        path: &str,
        metadata: &[(&str, &str)],
        request: &impl Message,
    ) -> Result<A, Status> {
        let mut receiving = self.ask(path, metadata, request).await?;
        let answer = receiving.next().await?;
        let none = || Status::new(Code::Internal, "an answer without a message");
        let answer = answer.ok_or_else(none)?;
        // A status may still say that it failed.
        while receiving.next::<A>().await?.is_some() {}
        Ok(answer)
    }

    /// Makes a call with one message there and any number back.
    ///
    /// # Errors
    /// That the connection has ended.
    pub async fn ask(
        &self,
        path: &str,
        metadata: &[(&str, &str)],
        request: &impl Message,
    ) -> Result<Receiving, Status> {
        let (mut sending, receiving) = self.open(path, metadata).await?;
        // One that is refused says why in its answer.
        if sending.send(request).await.is_ok() {
            sending.finish();
        }
        Ok(receiving)
    }
}
