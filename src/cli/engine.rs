//! Who solves: this process, or daemons of BuildKit.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::caches::CacheArgs;
use super::failure::Failure;
use super::limit::LimitArgs;
use super::progress::View;
use super::report::Exit;
use super::session::{Inside, Session, variable};
use crate::build::BuildError;
use crate::buildkit::{Address, AddressError, BuildKitError, Dialer, Tls};
use crate::engine::{Daemons, Embedded, Engine};
use crate::progress::Progress;
use crate::solver::Solved;

/// Where a daemon listens that was started by the system.
const SYSTEM: &str = "unix:///run/buildkit/buildkitd.sock";

/// Options that say who solves.
#[derive(Debug, Args)]
pub(crate) struct EngineArgs {
    /// Who solves graphs [default: buildkit where --buildkit-addr is given, else embedded]
    #[arg(long, global = true, value_enum, env = "DOCKLESS_ENGINE")]
    engine: Option<EngineArg>,
    /// BuildKit daemon, as `unix://PATH`, `tcp://HOST[:PORT]`, `ssh://[USER@]HOST`, `docker://` or `kube-pod://POD`;
    /// several share the work [default: `$BUILDKIT_HOST`, or the socket of the user's or the system's daemon]
    #[arg(long, global = true, value_name = "ADDR", env = "DOCKLESS_BUILDKIT_ADDR", value_delimiter = ',')]
    buildkit_addr: Vec<Address>,
    /// Authority of the certificates of daemons at tcp:// (PEM); without, nothing is encrypted
    #[arg(long, global = true, value_name = "FILE", env = "DOCKLESS_BUILDKIT_TLS_CA")]
    buildkit_tls_ca: Option<PathBuf>,
    /// Our certificate, for daemons that ask for one (PEM)
    #[arg(long, global = true, value_name = "FILE", env = "DOCKLESS_BUILDKIT_TLS_CERT")]
    buildkit_tls_cert: Option<PathBuf>,
    /// Its key (PEM)
    #[arg(long, global = true, value_name = "FILE", env = "DOCKLESS_BUILDKIT_TLS_KEY")]
    buildkit_tls_key: Option<PathBuf>,
    /// Name in the certificates of daemons, where it is not that of the address
    #[arg(long, global = true, value_name = "NAME", env = "DOCKLESS_BUILDKIT_TLS_SERVER_NAME")]
    buildkit_tls_server_name: Option<String>,
}

/// Engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum EngineArg {
    /// This process, steps in namespaces
    Embedded,
    /// A daemon of BuildKit, or several
    Buildkit,
}

impl EngineArgs {
    /// Tells whether daemons solve.
    pub(crate) fn is_buildkit(&self) -> bool {
        self.engine.map_or(!self.buildkit_addr.is_empty(), |engine| engine == EngineArg::Buildkit)
    }

    /// Returns the daemons; `None` where this process solves.
    fn daemons(&self, caches: &CacheArgs) -> Result<Option<Daemons>, Failure> {
        if !self.is_buildkit() {
            return Ok(None);
        }
        let usage = |message: &str| Failure::Usage { message: message.to_owned() };
        let identity = match (&self.buildkit_tls_cert, &self.buildkit_tls_key) {
            (Some(certificate), Some(key)) => Some((certificate.clone(), key.clone())),
            (None, None) => None,
            _ => return Err(usage("--buildkit-tls-cert and --buildkit-tls-key go together")),
        };
        let tls = Tls {
            authority: self.buildkit_tls_ca.clone(),
            identity,
            server_name: self.buildkit_tls_server_name.clone(),
        };
        if tls.authority.is_none() && tls != Tls::default() {
            return Err(usage("TLS needs the authority of the daemon's certificate: --buildkit-tls-ca FILE"));
        }
        let addresses = if self.buildkit_addr.is_empty() { vec![usual()?] } else { self.buildkit_addr.clone() };
        let dialers = addresses.into_iter().map(|address| Dialer { address, tls: tls.clone() }).collect();
        let daemons = Daemons::new(dialers, caches.of_daemons());
        Ok(Some(daemons.map_err(BuildError::from)?))
    }
}

/// Returns where a daemon usually is, as `buildctl` has it.
fn usual() -> Result<Address, Failure> {
    let own = || {
        let socket = Path::new(&variable("XDG_RUNTIME_DIR")?).join("buildkit/buildkitd.sock");
        socket.exists().then(|| format!("unix://{}", socket.display()))
    };
    let text = variable("BUILDKIT_HOST").or_else(own).unwrap_or_else(|| SYSTEM.to_owned());
    text.parse().map_err(|error: AddressError| Failure::Usage { message: error.to_string() })
}

/// Whose turn it is when daemons have not solved a graph.
pub(super) fn exit(error: &BuildKitError) -> Exit {
    if error.is_input() {
        Exit::Input
    } else if error.is_build() {
        Exit::Failed
    } else {
        Exit::Machine
    }
}

/// Who solves, and who keeps what was solved.
#[derive(Debug)]
pub(super) struct Solvers {
    /// The store and everything that belongs to it; solves where there are no daemons.
    pub(super) local: Embedded,
    /// Solve where there are some.
    pub(super) daemons: Option<Daemons>,
}

impl Solvers {
    /// Returns those that the options ask for.
    pub(super) fn open(
        session: &Session<'_>,
        inside: Inside,
        (caches, limits): (&CacheArgs, &LimitArgs),
        view: &View,
    ) -> Result<Self, Failure> {
        let daemons = session.global.engine.daemons(caches)?;
        let mut local = session.engine(inside)?;
        if daemons.is_none() {
            caches.open(&mut local, view)?;
        } else if limits.is_some() {
            let message = "limits of steps are the daemon's with --engine buildkit: set them where it runs";
            return Err(Failure::Usage { message: message.to_owned() });
        }
        limits.apply(&mut local)?;
        Ok(Self { local, daemons })
    }

    /// Returns the engine.
    pub(super) fn engine(&self) -> Box<dyn Engine + '_> {
        match &self.daemons {
            Some(daemons) => Box::new(daemons.engine(&self.local, self.local.cancel.clone())),
            None => Box::new(self.local.part(self.local.cancel.clone())),
        }
    }

    /// Leaves caches of what was solved here; daemons have left theirs.
    pub(super) fn leave(&self, session: &Session<'_>, caches: &CacheArgs, solved: &[&Solved], progress: &dyn Progress) {
        if self.daemons.is_none() {
            caches.write(session, &self.local, solved, progress);
        }
    }
}
