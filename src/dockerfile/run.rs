//! `RUN` becomes a step (`convert.go dispatchRun`, `convert_runmount.go`, `convert_secrets.go`, `convert_ssh.go`).

use super::error::Fault;
use super::expand::Lexer;
use super::heredoc::{Heredoc, chomp};
use super::instruction::{Network, Run};
use super::lines::Lines;
use super::lower::{CONTEXT, Lowering};
use super::mount::{Mount, MountType};
use super::names::shown;
use super::nodes::{Act, Exec, FileStep, MountSpec, Node, NodeId, metadata, with_command};
use super::stage::StageId;
use super::state::join;
use crate::llb::pb;
use crate::pattern::clean;

impl Lowering<'_> {
    pub(super) fn run(
        &mut self,
        id: StageId,
        run: Run,
        mounts: &[(Mount, StageId)],
        (code, lines): (&str, &Lines),
    ) -> Result<(), Fault> {
        let paths = self.stages[id].paths;
        self.paths[paths].insert("/".to_owned());
        let mut exec = Exec::default();
        let root = pb::Mount { dest: "/".to_owned(), ..pb::Mount::default() };
        exec.mounts.push(MountSpec { mount: root, source: self.stages[id].state.out, no_output: false });
        let mut name = code.to_owned();
        let mut args = run.command.args.clone();
        if let Some(first) = run.command.heredocs.first() {
            args = self.documents(&run, &mut exec);
            let is_document = matches!(Heredoc::parse(&run.command.args.concat()), Ok(Some(_)));
            if is_document {
                name.push_str(&format!(" ({})", summary(&first.content)));
            }
        }
        if args.is_empty() {
            return Err(Fault::new("RUN requires a command"));
        }
        if run.command.shell {
            args = self.stages[id].image.with_shell(&args);
        }
        for (mount, source) in mounts {
            self.mount(id, mount, *source, &mut exec)?;
        }
        if self.options.shm_size > 0 {
            let mount = pb::Mount {
                dest: "/dev/shm".to_owned(),
                mount_type: pb::MountType::Tmpfs.into(),
                tmpfs_opt: Some(pb::TmpfsOpt { size: self.options.shm_size }),
                ..pb::Mount::default()
            };
            exec.mounts.push(MountSpec { mount, ..MountSpec::default() });
        }
        exec.mounts.sort_by(|one, other| one.mount.dest.cmp(&other.mount.dest));
        let device =
            |device: super::instruction::Device| pb::CdiDevice { name: device.name, optional: !device.required };
        exec.devices = run.devices.into_iter().map(device).collect();
        exec.security = if run.insecure { pb::SecurityMode::Insecure } else { pb::SecurityMode::Sandbox }.into();
        exec.network = match run.network {
            Network::Default => self.stages[id].state.network,
            Network::None => pb::NetMode::None.into(),
            Network::Host => pb::NetMode::Host.into(),
        };
        exec.meta = self.meta(id, &args, &mut exec.agents);
        let name = self.run_name(id, &name, mounts);
        let stage = &self.stages[id];
        let platform = stage.state.platform.clone().unwrap_or_else(|| self.options.target_platform().clone());
        let metadata = with_command(metadata(&name, &[]), code);
        let metadata = pb::OpMetadata { ignore_cache: stage.ignore_cache, ..metadata };
        let message = format!("RUN {}", self.history(id, &args));
        let act = Act::Exec(Box::new(exec));
        let node = self.push(Node { act, platform: Some(platform), metadata, lines: Some(lines.clone()) });
        self.stages[id].state.out = Some(node);
        self.commit(id, &message, true, true);
        Ok(())
    }

    /// What the documents of a step make of its command.
    fn documents(&mut self, run: &Run, exec: &mut Exec) -> Vec<String> {
        let heredocs = &run.command.heredocs;
        let written = run.command.args.concat();
        let Ok(Some(_)) = Heredoc::parse(&written) else {
            // A shell reads them itself.
            let mut text = written;
            for heredoc in heredocs {
                text.push_str(&format!("\n{}{}", heredoc.content, heredoc.name));
            }
            return vec![text];
        };
        let document = &heredocs[0];
        let data = if document.chomp { chomp(&document.content) } else { document.content.clone() };
        if !data.starts_with("#!") {
            return vec![data];
        }
        let file = self.document(&document.name, 0o755, data.into_bytes());
        let mount = pb::Mount {
            dest: "/dev/pipes/".to_owned(),
            selector: "/".to_owned(),
            readonly: true,
            ..pb::Mount::default()
        };
        exec.mounts.push(MountSpec { mount, source: Some(file), no_output: false });
        vec![clean(&format!("/dev/pipes/{}", document.name))]
    }

    /// A tree with one file that was written down.
    pub(super) fn document(&mut self, name: &str, mode: i32, data: Vec<u8>) -> NodeId {
        let file = pb::FileActionMkFile { path: join("/", name), mode, data, owner: None, timestamp: -1 };
        let action = pb::file_action::Action::Mkfile(file);
        let steps = vec![FileStep { base: None, from: None, action }];
        self.file_node(steps, "[internal] preparing inline document", None, false)
    }

    fn meta(&mut self, id: StageId, args: &[String], agents: &mut [pb::Mount]) -> pb::Meta {
        let mut env = self.stages[id].state.env.clone();
        for (number, agent) in agents.iter_mut().enumerate() {
            if agent.dest.is_empty() {
                agent.dest = format!("/run/buildkit/ssh_agent.{number}");
            }
        }
        if let Some(agent) = agents.first()
            && env.get("SSH_AUTH_SOCK").is_none()
        {
            env.set("SSH_AUTH_SOCK", &agent.dest);
        }
        let state = &self.stages[id].state;
        let host = |(host, ip): &(String, std::net::IpAddr)| pb::HostIp { host: host.clone(), ip: ip.to_string() };
        pb::Meta {
            args: args.to_vec(),
            env: env.list(),
            cwd: state.dir().to_owned(),
            user: state.user.clone(),
            proxy_env: self.proxies(),
            extra_hosts: self.options.hosts.iter().map(host).collect(),
            hostname: state.hostname.clone(),
            ulimit: self.options.ulimits.clone(),
            cgroup_parent: self.options.cgroup_parent.clone(),
            remove_mount_stubs_recursive: true,
            valid_exit_codes: Vec::new(),
        }
    }

    fn run_name(&mut self, id: StageId, name: &str, mounts: &[(Mount, StageId)]) -> String {
        let lexer = Lexer { raw_quotes: true, keep_unset: true, ..self.lexer };
        let env = self.stages[id].state.env.clone();
        let secret = |name: &str| mounts.iter().any(|(mount, _)| mount.env.as_deref() == Some(name));
        let name = shown(&lexer, name, &|name| if secret(name) { Some("****".to_owned()) } else { env.get(name) });
        let stage = &mut self.stages[id];
        let platform = stage.state.platform.clone().filter(|_| self.options.multi_platform);
        stage.numbered(&name, platform.as_ref(), &env)
    }

    /// The command as the history has it: build arguments before it, since they change what it does.
    fn history(&self, id: StageId, args: &[String]) -> String {
        let stage = &self.stages[id];
        let mut given: Vec<(&str, String)> = Vec::new();
        for (name, value) in &stage.args {
            let value = stage.state.env.get(name).or_else(|| value.clone()).unwrap_or_default();
            match given.iter_mut().find(|(known, _)| known == name) {
                Some((_, known)) => *known = value,
                None => given.push((name, value)),
            }
        }
        let mut words = Vec::new();
        if !given.is_empty() {
            words.push(format!("|{}", given.len()));
            words.extend(given.iter().map(|(name, value)| format!("{name}={value}")));
        }
        words.extend(args.iter().cloned());
        words.join(" ")
    }

    fn mount(&mut self, id: StageId, mount: &Mount, source: StageId, exec: &mut Exec) -> Result<(), Fault> {
        match mount.kind {
            MountType::Secret => return secret(mount, exec),
            MountType::Ssh => {
                exec.agents.push(agent(mount));
                return Ok(());
            }
            _ => {}
        }
        let from_stage = !mount.from.is_empty() || mount.kind == MountType::Cache;
        if from_stage && !self.stages[source].dispatched {
            let fault = Fault::new(format!("stage `{}` must stand before this one to mount it", mount.from));
            return Err(fault.about(mount.from.clone()));
        }
        let mut node = if from_stage { self.stages[source].state.out } else { Some(self.context) };
        let target = join(self.stages[id].state.dir(), &mount.target);
        if target == "/" {
            return Err(Fault::new(format!("invalid mount target `{}`", mount.target)).help("write target=DIRECTORY"));
        }
        let is_absolute = mount.target.starts_with('/');
        let mut spec = pb::Mount {
            dest: if is_absolute { mount.target.clone() } else { target },
            readonly: mount.read_only,
            ..pb::Mount::default()
        };
        match mount.kind {
            MountType::Tmpfs => {
                node = None;
                spec.mount_type = pb::MountType::Tmpfs.into();
                spec.tmpfs_opt = Some(pb::TmpfsOpt { size: mount.size });
            }
            MountType::Cache => {
                let cache = if mount.id.is_empty() { clean(&mount.target) } else { mount.id.clone() };
                let space = self.build_args.get("BUILDKIT_CACHE_MOUNT_NS").cloned().unwrap_or_default();
                let sharing = match mount.sharing.as_str() {
                    "private" => pb::CacheSharingOpt::Private,
                    "locked" => pb::CacheSharingOpt::Locked,
                    _ => pb::CacheSharingOpt::Shared,
                };
                spec.mount_type = pb::MountType::Cache.into();
                spec.cache_opt = Some(pb::CacheOpt { id: format!("{space}/{cache}"), sharing: sharing.into() });
            }
            _ => {}
        }
        let path = join("/", &mount.source);
        if path != "/" {
            spec.selector.clone_from(&path);
        } else if mount.has_looks() {
            node = Some(self.cache_directory(mount, node));
            "/cache".clone_into(&mut spec.selector);
        }
        let no_output = !mount.read_only && mount.kind == MountType::Bind;
        exec.mounts.push(MountSpec { mount: spec, source: node, no_output });
        let paths = if from_stage { self.stages[source].paths } else { CONTEXT };
        self.paths[paths].insert(path);
        Ok(())
    }

    /// The directory that a cache begins with, where it says whose it is.
    fn cache_directory(&mut self, mount: &Mount, base: Option<NodeId>) -> NodeId {
        let user = |id: Option<u32>| pb::UserOpt { user: Some(pb::user_opt::User::ById(id.unwrap_or(0))) };
        let directory = pb::FileActionMkDir {
            path: "/cache".to_owned(),
            mode: i32::try_from(mount.mode.unwrap_or(0o755) & 0o777).unwrap_or(0o755),
            make_parents: false,
            owner: Some(pb::ChownOpt { user: Some(user(mount.uid)), group: Some(user(mount.gid)) }),
            timestamp: -1,
        };
        let action = pb::file_action::Action::Mkdir(directory);
        let steps = vec![FileStep { base, from: None, action }];
        self.file_node(steps, "[internal] setting cache mount permissions", None, false)
    }
}

fn secret(mount: &Mount, exec: &mut Exec) -> Result<(), Fault> {
    let base = |path: &str| clean(path).rsplit('/').next().unwrap_or_default().to_owned();
    let id = [&mount.source, &mount.id].into_iter().find(|id| !id.is_empty()).cloned();
    let id = id.unwrap_or_else(|| base(&mount.target));
    if id.is_empty() {
        return Err(Fault::new("a secret needs an id or a target"));
    }
    let optional = !mount.required;
    if let Some(name) = &mount.env {
        exec.secret_env.push(pb::SecretEnv { id: id.clone(), name: name.clone(), optional });
    }
    let dest = match (mount.target.as_str(), &mount.env) {
        ("", Some(_)) => return Ok(()),
        ("", None) => format!("/run/secrets/{}", base(&id)),
        (target, _) => target.to_owned(),
    };
    let (uid, gid) = (mount.uid.unwrap_or(0), mount.gid.unwrap_or(0));
    let secret = pb::SecretOpt { id, uid, gid, mode: mount.mode.unwrap_or(0o400), optional };
    exec.secrets.push(pb::Mount {
        input: -1,
        dest,
        mount_type: pb::MountType::Secret.into(),
        secret_opt: Some(secret),
        ..pb::Mount::default()
    });
    Ok(())
}

fn agent(mount: &Mount) -> pb::Mount {
    let ssh = pb::SshOpt {
        id: mount.id.clone(),
        uid: mount.uid.unwrap_or(0),
        gid: mount.gid.unwrap_or(0),
        mode: mount.mode.unwrap_or(0o600),
        optional: !mount.required,
    };
    pb::Mount {
        input: -1,
        dest: mount.target.clone(),
        mount_type: pb::MountType::Ssh.into(),
        ssh_opt: Some(ssh),
        ..pb::Mount::default()
    }
}

/// The first line of a document, for people.
fn summary(document: &str) -> String {
    let mut lines = document.trim().lines();
    let first = lines.next().unwrap_or_default();
    if lines.next().is_some() { format!("{first}...") } else { first.to_owned() }
}
