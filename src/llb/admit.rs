//! What an executor can and may do, and whether a graph keeps within it: asked once, before anything runs.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use super::error::OpName;
use super::graph::Graph;
use super::{pb, platform};

/// What a build must be granted (`util/entitlements/entitlements.go`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Entitlement {
    /// The network of the host.
    NetworkHost,
    /// Steps without confinement.
    SecurityInsecure,
    /// Devices of the host.
    Device,
}

/// A name that is no entitlement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown entitlement `{text}`: use network.host, security.insecure or device")]
pub struct EntitlementError {
    /// The name as given.
    pub text: String,
}

impl Entitlement {
    /// Every entitlement.
    pub const ALL: [Self; 3] = [Self::NetworkHost, Self::SecurityInsecure, Self::Device];

    /// Returns BuildKit's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NetworkHost => "network.host",
            Self::SecurityInsecure => "security.insecure",
            Self::Device => "device",
        }
    }
}

impl fmt::Display for Entitlement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Entitlement {
    type Err = EntitlementError;

    fn from_str(text: &str) -> Result<Self, EntitlementError> {
        let found = Self::ALL.into_iter().find(|entitlement| entitlement.name() == text);
        found.ok_or_else(|| EntitlementError { text: text.to_owned() })
    }
}

/// What an executor can and may do.
#[derive(Debug, Clone)]
pub struct Executor {
    /// What the user allows.
    pub allowed: BTreeSet<Entitlement>,
    /// System and architecture, as OCI names them, of the programs that run here. The variant is left to the user, who
    /// knows the processor.
    pub platforms: Vec<(&'static str, &'static str)>,
    /// CDI devices can be given to steps.
    pub devices: bool,
}

/// Why a graph is not executed here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// An op needs what was not allowed.
    #[error("{op} needs `{entitlement}`: add `--allow {entitlement}` if you trust this build")]
    Entitlement {
        /// The op.
        op: Box<OpName>,
        /// What it needs.
        entitlement: Entitlement,
    },
    /// An op needs a device, and there are none.
    #[error(
        "{op} needs the device `{device}`, and this engine gives no devices: make it optional with `required=false`"
    )]
    Device {
        /// The op.
        op: Box<OpName>,
        /// The device's CDI name.
        device: String,
    },
    /// An op runs programs of another platform.
    #[error("{op} runs programs of {platform}, and this engine runs those of {here}: build for one of these")]
    Platform {
        /// The op.
        op: Box<OpName>,
        /// Its platform.
        platform: String,
        /// What can be run.
        here: String,
    },
}

impl Executor {
    /// Returns the executor of a dockless that runs on `x86_64`: both architectures, no devices, nothing allowed.
    pub fn embedded() -> Self {
        Self { allowed: BTreeSet::new(), platforms: vec![("linux", "amd64"), ("linux", "386")], devices: false }
    }

    /// Refuses a graph that needs more, naming the first such op.
    pub fn admit(&self, graph: &Graph) -> Result<(), Refusal> {
        for vertex in graph.vertices() {
            let pb::op::Op::Exec(exec) = &vertex.op else { continue };
            let op = || Box::new(graph.name_of(&vertex.digest));
            // Only programs are tied to a processor: images and files of any platform can be copied from.
            if let Some(found) = &vertex.platform
                && !self.platforms.contains(&(found.os.as_str(), found.architecture.as_str()))
            {
                let here: Vec<_> = self.platforms.iter().map(|(os, arch)| format!("{os}/{arch}")).collect();
                return Err(Refusal::Platform { op: op(), platform: platform::name(found), here: here.join(" and ") });
            }
            if let Some(device) = exec.cdi_devices.iter().find(|device| !device.optional)
                && !self.devices
            {
                return Err(Refusal::Device { op: op(), device: super::graph::clean(&device.name) });
            }
            if let Some(entitlement) = needs(exec).find(|entitlement| !self.allowed.contains(entitlement)) {
                return Err(Refusal::Entitlement { op: op(), entitlement });
            }
        }
        Ok(())
    }
}

/// Returns what a graph must be granted (`solver/llbsolver/vertex.go ValidateEntitlements`).
pub fn entitlements(graph: &Graph) -> BTreeSet<Entitlement> {
    let execs = graph.vertices().filter_map(|vertex| match &vertex.op {
        pb::op::Op::Exec(exec) => Some(exec),
        _ => None,
    });
    execs.flat_map(needs).collect()
}

/// What one exec must be granted. An optional device that is not there is not given and needs no leave.
fn needs(exec: &pb::ExecOp) -> impl Iterator<Item = Entitlement> + use<> {
    let device = exec.cdi_devices.iter().any(|device| !device.optional);
    let all = [
        (exec.network == i32::from(pb::NetMode::Host), Entitlement::NetworkHost),
        (exec.security == i32::from(pb::SecurityMode::Insecure), Entitlement::SecurityInsecure),
        (device, Entitlement::Device),
    ];
    all.into_iter().filter_map(|(needed, entitlement)| needed.then_some(entitlement))
}
