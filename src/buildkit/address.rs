//! Where a daemon is.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Port of a daemon that names none (BuildKit `buildkitd` documentation).
const PORT: u16 = 1234;

/// Where a daemon is (`buildctl --addr`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Address {
    /// `unix:///run/buildkit/buildkitd.sock`
    Unix(PathBuf),
    /// `tcp://host:1234`
    Tcp {
        /// Name or address; an IPv6 one without brackets.
        host: String,
        /// Port.
        port: u16,
    },
    /// `ssh://[user@]host[:port][/path/to/buildkitd.sock]`: by `buildctl dial-stdio` there.
    Ssh {
        /// `[user@]host`
        host: String,
        /// Port of the ssh server.
        port: Option<u16>,
        /// The daemon's socket there.
        socket: Option<String>,
    },
    /// `docker://[/run/docker.sock]`: the one in Docker's daemon.
    Docker(PathBuf),
    /// `kube-pod://pod[?context=…&namespace=…&container=…]`: by `buildctl dial-stdio` in a pod.
    Pod {
        /// Name of the pod.
        pod: String,
        /// Further flags of `kubectl exec`, `--namespace=…` and the like.
        flags: Vec<String>,
    },
}

/// Why an address is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no address of a BuildKit daemon: {reason}")]
pub struct AddressError {
    /// As given.
    pub text: String,
    /// What is wrong.
    pub reason: &'static str,
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let wrong = |reason| AddressError { text: text.to_owned(), reason };
        let schemes = "write unix://PATH, tcp://HOST[:PORT], ssh://[USER@]HOST, docker:// or kube-pod://POD";
        let (scheme, rest) = text.split_once("://").ok_or_else(|| wrong(schemes))?;
        match scheme {
            "unix" if rest.starts_with('/') => Ok(Self::Unix(rest.into())),
            "unix" => Err(wrong("the path must begin with a `/`: unix:///run/buildkit/buildkitd.sock")),
            "tcp" => {
                let (host, port) = host_and_port(rest.trim_end_matches('/')).ok_or_else(|| wrong("it has no host"))?;
                Ok(Self::Tcp { host, port: port.unwrap_or(PORT) })
            }
            "ssh" => {
                let (host, socket) = rest.split_once('/').map_or((rest, None), |(host, path)| (host, Some(path)));
                let (user, host) = host.rsplit_once('@').map_or((None, host), |(user, host)| (Some(user), host));
                let (host, port) = host_and_port(host).ok_or_else(|| wrong("it has no host"))?;
                let host = user.map_or_else(|| host.clone(), |user| format!("{user}@{host}"));
                // It would be taken for an option of ssh.
                if host.starts_with('-') {
                    return Err(wrong("no host or user begins with a `-`"));
                }
                let socket = socket.filter(|path| !path.is_empty()).map(|path| format!("/{path}"));
                Ok(Self::Ssh { host, port, socket })
            }
            "docker" => {
                let path = if rest.is_empty() { "/run/docker.sock" } else { rest };
                if path.starts_with('/') { Ok(Self::Docker(path.into())) } else { Err(wrong("write docker:///PATH")) }
            }
            "kube-pod" => {
                let (pod, query) = rest.split_once('?').unwrap_or((rest, ""));
                if pod.is_empty() || pod.starts_with('-') {
                    return Err(wrong("it has no name of a pod"));
                }
                let mut flags = Vec::new();
                for pair in query.split('&').filter(|pair| !pair.is_empty()) {
                    match pair.split_once('=') {
                        Some((key @ ("context" | "namespace" | "container"), value)) if !value.is_empty() => {
                            flags.push(format!("--{key}={value}"));
                        }
                        _ => return Err(wrong("a pod has context, namespace and container")),
                    }
                }
                Ok(Self::Pod { pod: pod.to_owned(), flags })
            }
            _ => Err(wrong(schemes)),
        }
    }
}

/// Splits `host`, `host:port`, `[::1]` and `[::1]:port`.
fn host_and_port(text: &str) -> Option<(String, Option<u16>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?.parse().ok()?) };
        return Some((host.to_owned(), port)).filter(|(host, _)| !host.is_empty());
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, Some(port.parse().ok()?)),
        None => (text, None),
    };
    Some((host.to_owned(), port)).filter(|(host, _)| !host.is_empty() && !host.contains([':', '/']))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp { host, port } if host.contains(':') => write!(f, "tcp://[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "tcp://{host}:{port}"),
            Self::Ssh { host, port, socket } => {
                let port = port.map(|port| format!(":{port}")).unwrap_or_default();
                write!(f, "ssh://{host}{port}{}", socket.as_deref().unwrap_or_default())
            }
            Self::Docker(path) => write!(f, "docker://{}", path.display()),
            Self::Pod { pod, flags } => {
                let flags: Vec<&str> = flags.iter().map(|flag| flag.trim_start_matches('-')).collect();
                let query = if flags.is_empty() { String::new() } else { format!("?{}", flags.join("&")) };
                write!(f, "kube-pod://{pod}{query}")
            }
        }
    }
}

impl Address {
    /// Tells whether bytes reach it without a network, so that compressing them costs more than it saves.
    pub(super) fn is_near(&self) -> bool {
        match self {
            Self::Unix(_) | Self::Docker(_) => true,
            Self::Tcp { host, .. } => matches!(host.as_str(), "localhost" | "127.0.0.1" | "::1"),
            Self::Ssh { .. } | Self::Pod { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_they_are_shown() {
        for text in [
            "unix:///run/buildkit/buildkitd.sock",
            "tcp://builder.test:1234",
            "tcp://[fd00::1]:8372",
            "ssh://me@builder.test",
            "ssh://builder.test:2222/run/user/1000/buildkit/buildkitd.sock",
            "docker:///run/docker.sock",
            "kube-pod://buildkit-0?namespace=ci&container=buildkitd",
        ] {
            let address: Address = text.parse().expect(text);
            assert_eq!(address.to_string(), text);
        }
        let tcp: Address = "tcp://builder.test".parse().expect("a host is enough");
        assert_eq!(tcp.to_string(), "tcp://builder.test:1234");
        for text in [
            "",
            "builder.test",
            "unix://run/x",
            "unix://",
            "tcp://",
            "tcp://:1",
            "tcp://h:x",
            "tcp://a:b:1",
            "ssh://",
            "ssh://-oProxyCommand=x",
            "ssh://-l@h",
            "http://h",
            "docker://x",
            "kube-pod://",
            "kube-pod://-x",
            "kube-pod://p?x=y",
            "kube-pod://p?namespace=",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}
