//! An `ExecOp` as a step of the sandbox (`ops.proto ExecOp`, `Meta`).

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::SolveError;
use super::mounts::{Mounts, clean, missing};
use super::run::{Work, timeout, unsupported};
use crate::llb::{Vertex, pb};
use crate::oci::Arch;
use crate::recipe;
use crate::sandbox::{Network, Security, Step, Ulimit};

/// What a step takes as descriptors 3 and 4: the ends of the jobserver.
const JOBSERVER: (i32, i32) = (3, 4);

impl Work<'_> {
    /// Puts the step together; `mounts` keeps what its trees live on.
    pub(super) fn describe(&self, vertex: &Vertex, exec: &pb::ExecOp, mounts: &mut Mounts) -> Result<Step, SolveError> {
        let meta = exec.meta.as_ref().ok_or_else(|| unsupported(vertex, "an exec without meta"))?;
        let root = mounts.root.take().ok_or_else(|| unsupported(vertex, "a step without a root mount"))?;
        if !root.selector.as_os_str().is_empty() && root.selector != Path::new("/") {
            return Err(unsupported(vertex, "a selector for the root mount"));
        }
        let is_recipe = is_recipe(vertex);
        let step = if is_recipe { Step::bare } else { Step::new };
        let mut step = step(root.mount, meta.args.clone());
        step.root_readonly |= root.readonly;
        step.mounts = std::mem::take(&mut mounts.others);
        step.env.clone_from(&meta.env);
        step.cwd = cwd(exec);
        step.user.clone_from(&meta.user);
        step.hostname.clone_from(&meta.hostname);
        step.arch = arch(vertex)?;
        let bounds = self.solver.bounds;
        step.timeout = timeout(vertex).map(Duration::from_secs).into_iter().chain(bounds.timeout).min();
        step.group = bounds.group(vertex, self.progress)?;
        step.remove_stubs = meta.remove_mount_stubs_recursive;
        if exec.network() == pb::NetMode::None {
            step.network = Network::None;
        }
        if exec.security() == pb::SecurityMode::Insecure {
            step.security = Security::Insecure;
        }
        for host in &meta.extra_hosts {
            let ip: IpAddr =
                host.ip.parse().map_err(|_| unsupported(vertex, format!("`{}` as an address", host.ip)))?;
            step.hosts.push((host.host.clone(), ip));
        }
        // None is written as a negative number, as in the kernel's -1.
        let limit = |value: i64| u64::try_from(value).unwrap_or(u64::MAX);
        step.ulimits.extend(meta.ulimit.iter().map(|ulimit| Ulimit {
            name: ulimit.name.clone(),
            soft: limit(ulimit.soft),
            hard: Some(limit(ulimit.hard)),
        }));
        if let Some(proxy) = &meta.proxy_env {
            step.env.extend(proxies(proxy));
        }
        for secret in &exec.secretenv {
            let value = self.solver.inputs.secrets.get(&secret.id);
            let value = match value {
                Some(value) => String::from_utf8(value.0.clone())
                    .ok()
                    .filter(|text| !text.contains('\0'))
                    .ok_or_else(|| unsupported(vertex, format!("secret `{}`, no text, as a variable", secret.id)))?,
                None if secret.optional => String::new(),
                None => return Err(missing(vertex, format!("secret `{}`", secret.id))),
            };
            step.env.push(format!("{}={value}", secret.name));
        }
        self.jobserver(vertex, &mut step)?;
        Ok(step)
    }

    /// Gives a recipe's step the jobserver.
    fn jobserver(&self, vertex: &Vertex, step: &mut Step) -> Result<(), SolveError> {
        if vertex.metadata.description.contains_key(recipe::JOBSERVER) {
            step.env.push(format!("MAKEFLAGS=-j --jobserver-auth={},{}", JOBSERVER.0, JOBSERVER.1));
            let (read, write) = self.solver.jobs.ends();
            for (number, end) in [(JOBSERVER.0, read), (JOBSERVER.1, write)] {
                let path = || PathBuf::from("jobserver pipe");
                let end = end.try_clone_to_owned();
                let end = end.map_err(|source| SolveError::Io { action: "duplicate", path: path(), source })?;
                step.inherit.push((number, end));
            }
        }
        Ok(())
    }
}

/// Tells whether a recipe made this vertex, for steps with bare surroundings.
pub(super) fn is_recipe(vertex: &Vertex) -> bool {
    vertex.metadata.description.contains_key(recipe::TIMEOUT)
}

/// Returns the working directory of a step.
pub(super) fn cwd(exec: &pb::ExecOp) -> PathBuf {
    clean(Path::new("/"), exec.meta.as_ref().map_or("", |meta| &meta.cwd))
}

/// The variables of a proxy, in the two spellings that programs look for; empty ones are left out.
fn proxies(proxy: &pb::ProxyEnv) -> Vec<String> {
    let all = [
        ("HTTP_PROXY", &proxy.http_proxy),
        ("HTTPS_PROXY", &proxy.https_proxy),
        ("FTP_PROXY", &proxy.ftp_proxy),
        ("NO_PROXY", &proxy.no_proxy),
        ("ALL_PROXY", &proxy.all_proxy),
    ];
    let set = all.into_iter().filter(|(_, value)| !value.is_empty());
    set.flat_map(|(name, value)| [format!("{name}={value}"), format!("{}={value}", name.to_lowercase())]).collect()
}

fn arch(vertex: &Vertex) -> Result<Arch, SolveError> {
    match &vertex.platform {
        None => Ok(Arch::X86_64),
        Some(platform) => Arch::from_oci(&platform.architecture)
            .filter(|_| platform.os == "linux")
            .ok_or_else(|| unsupported(vertex, format!("platform {}/{}", platform.os, platform.architecture))),
    }
}
