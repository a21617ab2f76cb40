//! Calls of the other side over one connection.

use std::future::Future;

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use http::{HeaderMap, Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};

use super::call::{Receiving, Sending};
use super::client::WINDOWS;
use super::status::{Code, Status};

/// A call of the other side.
#[derive(Debug)]
pub struct Call {
    request: Request<h2::RecvStream>,
    respond: SendResponse<Bytes>,
}

impl Call {
    /// Returns `/package.Service/Method`.
    pub fn path(&self) -> &str {
        self.request.uri().path()
    }

    /// Returns all values of a header, in order; those that are no text are left out.
    pub fn metadata(&self, name: &str) -> Vec<String> {
        let values = self.request.headers().get_all(name).iter();
        values.filter_map(|value| value.to_str().ok()).map(str::to_owned).collect()
    }

    /// Accepts the call.
    ///
    /// # Errors
    /// That it has ended meanwhile.
    pub fn accept(mut self) -> Result<(Receiving, Answer), Status> {
        let sending = self.respond.send_response(head(), false).map_err(|error| Status::of_h2(&error))?;
        Ok((Receiving::of_request(self.request.into_body()), Answer(Sending(sending))))
    }

    /// Ends the call without an answer.
    pub fn refuse(mut self, status: &Status) {
        let mut response = head();
        response.headers_mut().extend(status.trailers());
        // Fails only where the call has ended anyway.
        let _ = self.respond.send_response(response, true);
    }
}

fn head() -> Response<()> {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", http::HeaderValue::from_static("application/grpc"));
    let mut response = Response::new(());
    *response.headers_mut() = headers;
    response
}

/// Our side of a call of theirs.
#[derive(Debug)]
pub struct Answer(Sending);

impl Answer {
    /// Sends a message.
    ///
    /// # Errors
    /// That the call or the connection has ended.
    pub async fn send(&mut self, message: &impl prost::Message) -> Result<(), Status> {
        self.0.send(message).await
    }

    /// Ends the call.
    pub fn end(self, result: Result<(), Status>) {
        let status = result.err().unwrap_or_else(|| Status::new(Code::Ok, ""));
        self.0.end(&status);
    }
}

/// Serves the calls of one connection until it ends; each is handled in a task of its own.
pub async fn serve<T, F>(io: T, handle: impl Fn(Call) -> F)
where
    T: AsyncRead + AsyncWrite + Unpin,
    F: Future<Output = ()> + Send + 'static,
{
    let mut builder = Builder::new();
    builder.initial_window_size(WINDOWS.0).initial_connection_window_size(WINDOWS.1);
    // A connection that breaks has nobody left to be told.
    let Ok(mut connection) = builder.handshake(io).await else { return };
    let mut tasks = tokio::task::JoinSet::new();
    while let Some(Ok((request, respond))) = connection.accept().await {
        tasks.spawn(handle(Call { request, respond }));
        while tasks.try_join_next().is_some() {}
    }
}
