//! What the user gives to a graph: secrets, agents, entitlements, and policies of its sources.

use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

use super::failure::Failure;
use super::session::variable;
use crate::llb::Entitlement;
use crate::policy::{Policies, Policy};
use crate::solver::{Inputs, SecretValue};

/// Largest secret (BuildKit `secrets.go`).
const LARGEST: u64 = 500 << 10;

/// What a graph may have of its user.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub(crate) struct GrantArgs {
    /// Secret that steps may ask for: id=ID,src=FILE or id=ID,env=VARIABLE; may be repeated
    #[arg(long, value_name = "id=ID,src=FILE|env=VAR")]
    pub(crate) secret: Vec<SecretArg>,
    /// Agent that steps may ask: ID (the one of `SSH_AUTH_SOCK`) or ID=SOCKET; may be repeated
    #[arg(long, value_name = "ID[=SOCKET]")]
    pub(crate) ssh: Vec<AgentArg>,
    /// What steps may have beyond their own: network.host, security.insecure
    #[arg(long, value_name = "ENTITLEMENT", value_delimiter = ',')]
    pub(crate) allow: Vec<Entitlement>,
    /// Policy that allows, denies or replaces sources, as BuildKit reads them; may be repeated
    #[arg(long, value_name = "FILE")]
    pub(crate) source_policy: Vec<PathBuf>,
}

impl GrantArgs {
    /// Reads the policies.
    pub(crate) fn policies(&self) -> Result<Policies, Failure> {
        let parse = |path: &PathBuf| {
            let failed = |source| Failure::Io { action: "read", path: path.clone(), source };
            Ok(Policy::parse(&std::fs::read_to_string(path).map_err(failed)?, path)?)
        };
        Ok(Policies::new(self.source_policy.iter().map(parse).collect::<Result<_, Failure>>()?))
    }

    /// Adds secrets and agents to what a graph may ask for.
    pub(crate) fn fill(&self, inputs: &mut Inputs) -> Result<(), Failure> {
        for secret in &self.secret {
            inputs.secrets.insert(secret.id.clone(), secret.value()?);
        }
        for agent in &self.ssh {
            inputs.agents.insert(agent.id.clone(), agent.socket()?);
        }
        Ok(())
    }
}

/// `id=ID,src=FILE` or `id=ID,env=VARIABLE`, as of `docker build --secret`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SecretArg {
    pub(crate) id: String,
    from: SecretFrom,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum SecretFrom {
    File(PathBuf),
    Variable(String),
}

impl FromStr for SecretArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (mut id, mut from) = (None, None);
        for part in text.split(',') {
            match part.split_once('=') {
                Some(("id", value)) => id = Some(value.to_owned()),
                Some(("src" | "source", value)) => from = Some(SecretFrom::File(value.into())),
                Some(("env", value)) => from = Some(SecretFrom::Variable(value.to_owned())),
                Some(("type", "file" | "env")) => {}
                _ => return Err(format!("`{part}` is unknown; write id=ID,src=FILE or id=ID,env=VARIABLE")),
            }
        }
        let id = id.filter(|id| !id.is_empty()).ok_or("the secret has no id: write id=ID,src=FILE")?;
        let from = from.unwrap_or_else(|| SecretFrom::Variable(id.clone()));
        Ok(Self { id, from })
    }
}

impl SecretArg {
    /// Reads the secret.
    pub(crate) fn value(&self) -> Result<SecretValue, Failure> {
        match &self.from {
            SecretFrom::Variable(name) => match variable(name) {
                Some(value) => Ok(SecretValue(value.into_bytes())),
                None => Err(Failure::Usage { message: format!("secret `{}`: variable `{name}` is not set", self.id) }),
            },
            SecretFrom::File(path) => {
                let failed = |source| Failure::Io { action: "read secret", path: path.clone(), source };
                let mut bytes = Vec::new();
                File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes)).map_err(failed)?;
                if bytes.len() as u64 > LARGEST {
                    return Err(failed(std::io::ErrorKind::FileTooLarge.into()));
                }
                Ok(SecretValue(bytes))
            }
        }
    }
}

/// `ID` or `ID=SOCKET`, as of `docker build --ssh`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AgentArg {
    pub(crate) id: String,
    socket: Option<PathBuf>,
}

impl FromStr for AgentArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (id, socket) = match text.split_once('=') {
            Some((id, socket)) if !socket.is_empty() => (id, Some(socket.into())),
            Some(_) => return Err("write ID or ID=SOCKET".to_owned()),
            None => (text, None),
        };
        if id.is_empty() { Err("the agent has no id".to_owned()) } else { Ok(Self { id: id.to_owned(), socket }) }
    }
}

impl AgentArg {
    /// Returns the socket: as given, or that of the user's own agent.
    pub(crate) fn socket(&self) -> Result<PathBuf, Failure> {
        let own = || variable("SSH_AUTH_SOCK").map(PathBuf::from);
        self.socket.clone().or_else(own).ok_or_else(|| Failure::Usage {
            message: format!(
                "agent `{}`: SSH_AUTH_SOCK is not set; start an agent, or name its socket: ID=SOCKET",
                self.id
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_files_or_variables() {
        let file = |id: &str, path: &str| SecretArg { id: id.to_owned(), from: SecretFrom::File(path.into()) };
        assert_eq!("id=a,src=b".parse(), Ok(file("a", "b")));
        assert_eq!("type=file,id=a,source=/b/c".parse(), Ok(file("a", "/b/c")));
        let variable = SecretArg { id: "T".to_owned(), from: SecretFrom::Variable("T".to_owned()) };
        assert_eq!("id=T".parse(), Ok(variable.clone()));
        assert_eq!("id=T,env=T".parse(), Ok(variable));
        for wrong in ["", "src=x", "id=,src=x", "id=a,file=x", "a"] {
            assert!(wrong.parse::<SecretArg>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn agents_are_sockets_by_id() {
        let agent = |id: &str, socket: Option<&str>| AgentArg { id: id.to_owned(), socket: socket.map(Into::into) };
        assert_eq!("default".parse(), Ok(agent("default", None)));
        assert_eq!("other=/run/agent".parse(), Ok(agent("other", Some("/run/agent"))));
        assert!("x=".parse::<AgentArg>().is_err() && "".parse::<AgentArg>().is_err());
    }
}
