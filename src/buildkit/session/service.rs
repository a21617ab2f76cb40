//! The session: one call, and who answers what on it.

use std::sync::Arc;

use prost::Message;
use tokio::task::JoinHandle;

use super::agent::forward;
use super::archive::receive;
use super::content::Content;
use super::files::send_files;
use super::offer::Offer;
use super::tokens::Tokens;
use super::tunnel::tunnel;
use crate::buildkit::message::{CheckAgentRequest, Empty, GetSecretRequest, GetSecretResponse, HealthCheckResponse};
use crate::grpc::{Answer, Call, Channel, Code, Receiving, Status, serve};

/// Methods that the daemon is told of; it asks no other.
const METHODS: [&str; 16] = [
    "/grpc.health.v1.Health/Check",
    "/moby.filesync.v1.FileSync/DiffCopy",
    "/moby.filesync.v1.FileSend/DiffCopy",
    "/moby.filesync.v1.Auth/Credentials",
    "/moby.filesync.v1.Auth/FetchToken",
    "/moby.filesync.v1.Auth/GetTokenAuthority",
    "/moby.filesync.v1.Auth/VerifyTokenAuthority",
    "/moby.buildkit.secrets.v1.Secrets/GetSecret",
    "/moby.sshforward.v1.SSH/CheckAgent",
    "/moby.sshforward.v1.SSH/ForwardAgent",
    "/containerd.services.content.v1.Content/Info",
    "/containerd.services.content.v1.Content/Read",
    "/containerd.services.content.v1.Content/Write",
    "/containerd.services.content.v1.Content/Update",
    "/containerd.services.content.v1.Content/Status",
    "/containerd.services.content.v1.Content/Abort",
];

/// A session that is open; it ends when it is dropped.
#[derive(Debug)]
pub(in crate::buildkit) struct Session {
    task: JoinHandle<()>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Session {
    /// Opens the session `id` on a daemon's connection. Local directories that are sent again under the same
    /// `shared_key` are compared with what the daemon has of them.
    ///
    /// # Errors
    /// That the connection has ended.
    pub(in crate::buildkit) async fn open(
        channel: &Channel,
        id: &str,
        shared_key: &str,
        offer: Offer,
    ) -> Result<Self, Status> {
        let mut metadata = vec![
            ("x-docker-expose-session-uuid", id),
            ("x-docker-expose-session-name", "dockless"),
            ("x-docker-expose-session-sharedkey", shared_key),
        ];
        metadata.extend(METHODS.map(|method| ("x-docker-expose-session-grpc-method", method)));
        let (sending, receiving) = channel.open("/moby.buildkit.v1.Control/Session", &metadata).await?;
        let (io, pump) = tunnel(sending, receiving);
        let server = Arc::new(Server { content: Content::new(&offer), tokens: Tokens::new(&offer), offer });
        let task = tokio::spawn(async move {
            let serving = serve(io, |call| {
                let server = Arc::clone(&server);
                async move { server.handle(call).await }
            });
            // Either end of the tunnel ends the session; who waits for the solve is told why by the daemon.
            let (_, ()) = tokio::join!(pump, serving);
        });
        Ok(Self { task })
    }
}

/// Answers calls.
struct Server {
    offer: Offer,
    content: Content,
    tokens: Tokens,
}

impl Server {
    async fn handle(&self, call: Call) {
        let path = call.path().to_owned();
        tracing::debug!(path, "the daemon asks");
        let Some((service, method)) = path.rsplit_once('/') else {
            return call.refuse(&Status::new(Code::Unimplemented, path));
        };
        match service {
            "/grpc.health.v1.Health" => {
                // `HealthCheckResponse.SERVING`
                unary(call, async |_: Empty| Ok(HealthCheckResponse { status: 1 })).await;
            }
            "/moby.filesync.v1.FileSync" if method == "DiffCopy" => {
                let request = match super::files::FileRequest::of(&call, &self.offer) {
                    Ok(request) => request,
                    Err(status) => return call.refuse(&status),
                };
                let Ok((receiving, answer)) = call.accept() else { return };
                send_files(request, receiving, answer).await;
            }
            "/moby.filesync.v1.FileSend" if method == "DiffCopy" => {
                let Some(archive) = &self.offer.archive else {
                    return call.refuse(&Status::new(Code::FailedPrecondition, "no archive was asked for"));
                };
                let Ok((mut receiving, answer)) = call.accept() else { return };
                end(answer, receive(&self.offer.store, archive, &mut receiving).await);
            }
            "/moby.filesync.v1.Auth" => self.tokens.handle(method, call).await,
            "/moby.buildkit.secrets.v1.Secrets" if method == "GetSecret" => {
                unary(call, async |request: GetSecretRequest| {
                    let none = || Status::new(Code::NotFound, format!("secret {} was not given", request.id));
                    let data = self.offer.secrets.get(&request.id).cloned().ok_or_else(none)?;
                    Ok(GetSecretResponse { data })
                })
                .await;
            }
            "/moby.sshforward.v1.SSH" if method == "CheckAgent" => {
                unary(call, async |request: CheckAgentRequest| {
                    let id = if request.id.is_empty() { "default" } else { &request.id };
                    let none = || Status::new(Code::NotFound, format!("ssh agent {id} was not given"));
                    self.offer.agents.get(id).map(|_| Empty {}).ok_or_else(none)
                })
                .await;
            }
            "/moby.sshforward.v1.SSH" if method == "ForwardAgent" => forward(call, &self.offer.agents).await,
            "/containerd.services.content.v1.Content" => self.content.handle(method, call).await,
            _ => call.refuse(&Status::new(Code::Unimplemented, format!("there is no method {path} here"))),
        }
    }
}

/// Answers a call that has one message each way.
pub(super) async fn unary<Q: Message + Default, A: Message>(
    call: Call,
    answer: impl AsyncFnOnce(Q) -> Result<A, Status>,
) {
    let Ok((mut receiving, mut sending)) = call.accept() else { return };
    let result = async {
        let request = request(&mut receiving).await?;
        sending.send(&answer(request).await?).await
    }
    .await;
    sending.end(result);
}

/// Reads the message that begins a call.
pub(super) async fn request<Q: Message + Default>(receiving: &mut Receiving) -> Result<Q, Status> {
    receiving.next().await?.ok_or_else(|| Status::new(Code::InvalidArgument, "a call without a message"))
}

/// Ends a call as `result` says.
pub(super) fn end(answer: Answer, result: Result<(), Status>) {
    if let Err(status) = &result {
        tracing::debug!(code = ?status.code, message = status.message, "the daemon was refused");
    }
    answer.end(result);
}
