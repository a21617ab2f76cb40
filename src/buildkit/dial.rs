//! A connection to a daemon.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::unix::pipe;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::address::Address;
use super::error::BuildKitError;
use crate::grpc::Channel;

/// How long a connection may take to come about.
const PATIENCE: Duration = Duration::from_secs(20);

/// Certificates for `tcp://` (`buildctl --tlscacert` and its kin), as files of PEM.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// The authority that the daemon's certificate must be of; with one, TLS is spoken.
    pub authority: Option<PathBuf>,
    /// Our certificate and its key, for daemons that want to know who we are.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Name in the daemon's certificate, where it is not that of the address.
    pub server_name: Option<String>,
}

/// Makes connections.
#[derive(Debug, Clone)]
pub struct Dialer {
    /// Where to.
    pub address: Address,
    /// How.
    pub tls: Tls,
}

/// Anything that bytes go through.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

impl Dialer {
    /// Connects and begins HTTP/2.
    ///
    /// # Errors
    /// `Unreachable`, `Tls`, `TlsFile`, `Program`, `Docker`.
    pub async fn dial(&self) -> Result<Channel, BuildKitError> {
        let address = || self.address.to_string();
        let dialed = tokio::time::timeout(PATIENCE, async {
            let stream = self.connect().await?;
            let authority = match &self.address {
                Address::Tcp { host, .. } if host.contains(':') => format!("[{host}]"),
                Address::Tcp { host, .. } => host.clone(),
                _ => "localhost".to_owned(),
            };
            let failed = |status: crate::grpc::Status| BuildKitError::Unreachable {
                address: address(),
                source: io::Error::other(status.message),
            };
            Channel::begin(stream, &authority).await.map_err(failed)
        });
        dialed.await.unwrap_or_else(|_| {
            Err(BuildKitError::Unreachable { address: address(), source: io::ErrorKind::TimedOut.into() })
        })
    }

    async fn connect(&self) -> Result<Box<dyn Stream>, BuildKitError> {
        let unreachable = |source| BuildKitError::Unreachable { address: self.address.to_string(), source };
        match &self.address {
            Address::Unix(path) => Ok(Box::new(UnixStream::connect(path).await.map_err(unreachable)?)),
            Address::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(unreachable)?;
                let _ = stream.set_nodelay(true);
                match self.config()? {
                    None => Ok(Box::new(stream)),
                    Some(config) => self.secure(stream, config, host).await,
                }
            }
            Address::Docker(path) => {
                let stream = UnixStream::connect(path).await.map_err(unreachable)?;
                upgraded(stream)
                    .await
                    .map(|stream| Box::new(stream) as Box<dyn Stream>)
                    .map_err(|reason| BuildKitError::Docker { address: self.address.to_string(), reason })
            }
            Address::Ssh { host, port, socket } => {
                let mut command = Command::new("ssh");
                // What asks a person would wait for ever.
                command.args(["-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=15"]);
                command.args(port.map(|port| format!("-p{port}")));
                command.args(["--", host, "buildctl"]);
                command.args(socket.as_ref().map(|socket| format!("--addr=unix://{}", quoted(socket))));
                command.arg("dial-stdio");
                self.spawn(command)
            }
            Address::Pod { pod, flags } => {
                let mut command = Command::new("kubectl");
                command.args(flags).args(["exec", "-i", pod, "--", "buildctl", "dial-stdio"]);
                self.spawn(command)
            }
        }
    }

    fn spawn(&self, mut command: Command) -> Result<Box<dyn Stream>, BuildKitError> {
        let program = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let failed =
            |source| BuildKitError::Program { address: self.address.to_string(), program: program.clone(), source };
        let mut child = command.spawn().map_err(&failed)?;
        let (stdin, stdout) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        let stdin = pipe::Sender::from_owned_fd(OwnedFd::from(stdin)).map_err(&failed)?;
        let stdout = pipe::Receiver::from_owned_fd(OwnedFd::from(stdout)).map_err(&failed)?;
        Ok(Box::new(Program { child, stdin, stdout }))
    }

    /// Returns how to speak TLS; `None` where it is not asked for.
    fn config(&self) -> Result<Option<Arc<rustls::ClientConfig>>, BuildKitError> {
        let Some(authority) = &self.tls.authority else { return Ok(None) };
        let file = |path: &Path, reason: String| BuildKitError::TlsFile { path: path.to_owned(), reason };
        let certificates = |path: &Path| {
            let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
            match read {
                Ok(found) if found.is_empty() => Err(file(path, "it has no certificate".to_owned())),
                read => read.map_err(|error| file(path, error.to_string())),
            }
        };
        let mut roots = rustls::RootCertStore::empty();
        for certificate in certificates(authority)? {
            roots.add(certificate).map_err(|error| file(authority, error.to_string()))?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has the default versions")
            .with_root_certificates(roots);
        let mut config = match &self.tls.identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let parsed = PrivateKeyDer::from_pem_file(key).map_err(|error| file(key, error.to_string()))?;
                builder
                    .with_client_auth_cert(certificates(certificate)?, parsed)
                    .map_err(|error| file(certificate, error.to_string()))?
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Some(Arc::new(config)))
    }

    async fn secure(
        &self,
        stream: TcpStream,
        config: Arc<rustls::ClientConfig>,
        host: &str,
    ) -> Result<Box<dyn Stream>, BuildKitError> {
        let failed = |reason: String| BuildKitError::Tls { address: self.address.to_string(), reason };
        let name = self.tls.server_name.as_deref().unwrap_or(host).to_owned();
        let name = ServerName::try_from(name).map_err(|error| failed(error.to_string()))?;
        let connected = TlsConnector::from(config).connect(name, stream).await;
        Ok(Box::new(connected.map_err(|error| failed(error.to_string()))?))
    }
}

/// A word for the shell at the other end.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The most bytes of an answer's head.
const HEAD: usize = 8 << 10;

/// Asks Docker's daemon to become BuildKit's on this connection (moby `POST /grpc`).
async fn upgraded(mut stream: UnixStream) -> Result<UnixStream, String> {
    let request = "POST /grpc HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    stream.write_all(request.as_bytes()).await.map_err(|error| error.to_string())?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= HEAD {
            return Err("it answers at length, but not as Docker does".to_owned());
        }
        // Byte by byte: what follows the head belongs to somebody else.
        head.push(stream.read_u8().await.map_err(|error| error.to_string())?);
    }
    let text = String::from_utf8_lossy(&head);
    let line = text.lines().next().unwrap_or_default();
    if line.split(' ').nth(1) == Some("101") {
        Ok(stream)
    } else {
        Err(format!("it answers `{}` to POST /grpc", line.chars().filter(|c| !c.is_control()).collect::<String>()))
    }
}

/// A program whose standard input and output lead to a daemon; it is killed with the connection.
struct Program {
    child: Child,
    stdin: pipe::Sender,
    stdout: pipe::Receiver,
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Program(..)")
    }
}

impl AsyncRead for Program {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stdout).poll_read(cx, buf)
    }
}

impl AsyncWrite for Program {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stdin).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stdin).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stdin).poll_shutdown(cx)
    }
}
