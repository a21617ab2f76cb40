//! What can go wrong with a daemon, and what to do about it.

use std::io;
use std::path::PathBuf;

use crate::grpc::{Code, Status};

/// Why a daemon did not solve a graph.
#[derive(Debug, thiserror::Error)]
pub enum BuildKitError {
    /// Nobody answers.
    #[error("no BuildKit daemon answers at `{address}`")]
    Unreachable {
        /// Where.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The other side is not who it should be, or does not believe us.
    #[error("TLS with `{address}` failed: {reason}")]
    Tls {
        /// Where.
        address: String,
        /// Why.
        reason: String,
    },
    /// A file for TLS cannot be used.
    #[error("`{}` cannot be used for TLS: {reason}", path.display())]
    TlsFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The program that leads to a daemon did not start.
    #[error("`{program}`, which leads to `{address}`, cannot be started")]
    Program {
        /// Where to.
        address: String,
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// Docker's daemon does not lend its BuildKit.
    #[error("the Docker daemon at `{address}` does not lend its BuildKit: {reason}")]
    Docker {
        /// Where.
        address: String,
        /// What it says.
        reason: String,
    },
    /// The daemon is there and is not one that we can use.
    #[error(
        "the daemon at `{address}` ({version}) cannot solve this graph: it has no `{capability}`, which `{name}` needs"
    )]
    Capability {
        /// Where.
        address: String,
        /// Its version.
        version: String,
        /// What it lacks (`caps.go`).
        capability: String,
        /// The vertex that asks for it.
        name: String,
    },
    /// The daemon does not build for this machine.
    #[error("the daemon at `{address}` builds for {offered}, not for {wanted}")]
    Platform {
        /// Where.
        address: String,
        /// What the graph is for.
        wanted: String,
        /// What it builds for.
        offered: String,
    },
    /// The connection broke.
    #[error("the connection to the daemon at `{address}` broke: {reason}")]
    Broken {
        /// Where.
        address: String,
        /// How.
        reason: String,
    },
    /// The daemon does not let clients do that.
    #[error("the daemon at `{address}` does not allow it: {message}")]
    Denied {
        /// Where.
        address: String,
        /// What it says.
        message: String,
    },
    /// The daemon's disk is full.
    #[error("the disk of the daemon at `{address}` is full: {message}")]
    DiskFull {
        /// Where.
        address: String,
        /// What it says.
        message: String,
    },
    /// A vertex failed that is no step.
    #[error("`{name}` failed at `{address}`: {message}")]
    Vertex {
        /// Where.
        address: String,
        /// Its name for people.
        name: String,
        /// What the daemon says.
        message: String,
    },
    /// The solve failed in another way.
    #[error("the daemon at `{address}` did not solve the graph: {message}")]
    Solve {
        /// Where.
        address: String,
        /// What it says.
        message: String,
    },
    /// What came back is not what was asked for.
    #[error("the result of the daemon at `{address}` cannot be used: {reason}")]
    Result {
        /// Where.
        address: String,
        /// What is wrong.
        reason: String,
    },
    /// This machine failed.
    #[error("failed to {action}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// Why.
        source: io::Error,
    },
    /// An index of a local cache could not be written.
    #[error("failed to write the cache index in `{}`", path.display())]
    Cache {
        /// The layout.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl BuildKitError {
    /// Reads how a call ended.
    pub(super) fn of(address: &str, status: &Status) -> Self {
        let (address, message) = (address.to_owned(), status.message.clone());
        if status.broken {
            return Self::Broken { address, reason: message };
        }
        if is_full(&message) {
            return Self::DiskFull { address, message };
        }
        let denied = status.code == Code::PermissionDenied || message.contains("is not allowed");
        if denied { Self::Denied { address, message } } else { Self::Solve { address, message } }
    }

    /// Tells whether another daemon may succeed where this one did not.
    pub fn is_of_daemon(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::Tls { .. }
                | Self::Program { .. }
                | Self::Docker { .. }
                | Self::Broken { .. }
                | Self::DiskFull { .. }
                | Self::Platform { .. }
                | Self::Capability { .. }
        )
    }

    /// Tells whether the daemon has no such exporter (`worker.go Exporter`).
    pub fn is_exporter(&self) -> bool {
        matches!(self, Self::Solve { message, .. } if message.contains("exporter") && message.contains("could not be found"))
    }

    /// Tells whether what the user gave is wrong, rather than a machine.
    pub fn is_input(&self) -> bool {
        matches!(self, Self::TlsFile { .. } | Self::Denied { .. } | Self::Capability { .. } | Self::Platform { .. })
    }

    /// Tells whether the build itself failed.
    pub fn is_build(&self) -> bool {
        matches!(self, Self::Vertex { .. } | Self::Solve { .. })
    }

    /// What to do about it.
    pub fn help(&self) -> Option<String> {
        let said = match self {
            Self::Unreachable { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "its socket is not for this user: join its group, or start a daemon of your own (docs/scaling.md)"
            }
            Self::Unreachable { .. } => {
                "start it (`buildkitd --addr ADDRESS`), or name another with --buildkit-addr; without --engine buildkit \
                 nothing but this machine is needed"
            }
            Self::Tls { .. } => {
                "--buildkit-tls-ca is the authority of the daemon's certificate, --buildkit-tls-cert and \
                 --buildkit-tls-key are your own, --buildkit-tls-server-name is the name in the daemon's"
            }
            Self::TlsFile { .. } => "PEM files are wanted: certificates, and a key in PKCS #8, PKCS #1 or SEC 1",
            Self::Program { .. } => "install it, or reach the daemon by unix:// or tcp://",
            Self::Docker { .. } => "Docker 20.10 or newer is needed, and its socket: docker:///run/docker.sock",
            Self::Capability { .. } => "use a newer daemon, or --engine embedded",
            Self::Platform { .. } => {
                "name a daemon of that architecture with --buildkit-addr, or register an emulator there (binfmt_misc)"
            }
            Self::Broken { .. } => {
                "run the same command again: what the daemon has finished is in its cache; several --buildkit-addr take \
                 over for one another"
            }
            Self::Denied { message, .. }
                if ["entitlement", "network.host", "security.insecure"].iter().any(|word| message.contains(word)) =>
            {
                "the daemon must allow it too: start it with --allow-insecure-entitlement, as well as --allow here"
            }
            Self::DiskFull { .. } => {
                "free room there: `buildctl prune`, or a smaller `gc` policy in its buildkitd.toml"
            }
            _ => return None,
        };
        Some(said.to_owned())
    }
}

/// Tells whether a daemon speaks of a full disk (`strerror(3)` of ENOSPC and EDQUOT).
fn is_full(message: &str) -> bool {
    ["no space left on device", "disk quota exceeded"].iter().any(|words| message.contains(words))
        // Our own disk is another matter.
        && !message.contains("the client could not keep a blob")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_call_is_told_by_its_kind() {
        let of = |code, message: &str| BuildKitError::of("tcp://h:1", &Status::new(code, message));
        let full = of(Code::Unknown, "write /var/lib/x: no space left on device");
        assert!(matches!(full, BuildKitError::DiskFull { .. }) && full.is_of_daemon());
        let ours = of(Code::Unknown, "the client could not keep a blob: x: no space left on device");
        assert!(matches!(ours, BuildKitError::Solve { .. }) && !ours.is_of_daemon());
        let denied =
            of(Code::Unknown, "granting entitlement security.insecure is not allowed by build daemon configuration");
        assert!(
            matches!(denied, BuildKitError::Denied { .. })
                && denied.help().is_some_and(|help| help.contains("--allow"))
        );
        let broken = Status { broken: true, ..Status::new(Code::Unavailable, "connection reset") };
        assert!(BuildKitError::of("x", &broken).is_of_daemon());
    }
}
