//! Instructions change a stage, one after the other (`convert.go dispatchStages`, `dispatch`).

use std::collections::{BTreeMap, BTreeSet};

use super::error::{DockerfileError, Fault};
use super::expand::Lexer;
use super::image::{Empty, PATH};
use super::instruction::{Argument, CommandLine, Files, Healthcheck, Kind};
use super::lines::Lines;
use super::lower::{CONTEXT, ContextPath, Lowering, picture};
use super::mount::{self, Mount};
use super::names::shown;
use super::nodes::{Act, FileStep, Node, metadata, owner};
use super::numbers::{format_duration, quoted_list};
use super::options::NetworkMode;
use super::ports::ports;
use super::stage::{Command, StageId};
use super::state::join;
use crate::llb::pb;

impl Lowering<'_> {
    pub(super) fn dispatch_all(&mut self, reachable: &BTreeSet<StageId>) -> Result<(), DockerfileError> {
        for id in self.order.clone() {
            if !reachable.contains(&id) || self.stages[id].dispatched {
                continue;
            }
            self.begin(id);
            for command in self.stages[id].commands.clone() {
                let lines = command.instruction.lines.clone();
                self.dispatch(id, command).map_err(|fault| self.error(fault, &lines))?;
            }
        }
        Ok(())
    }

    /// Takes over what the base left.
    fn begin(&mut self, id: StageId) {
        if let Some(base) = self.stages[id].base {
            let base = self.stages[base].clone();
            let stage = &mut self.stages[id];
            (stage.state, stage.platform, stage.image) = (base.state, base.platform, base.image);
            (stage.paths, stage.image.config.on_build) = (base.paths, Vec::new());
            stage.args.extend(base.args);
        }
        let target = self.options.target_platform().clone();
        let network = match self.options.network {
            NetworkMode::Sandbox => pb::NetMode::Unset,
            NetworkMode::None => pb::NetMode::None,
            NetworkMode::Host => pb::NetMode::Host,
        };
        let stage = &mut self.stages[id];
        stage.dispatched = true;
        stage.platform.get_or_insert(target);
        let config = &mut stage.image.config;
        if !config.env.iter().any(|entry| entry.starts_with("PATH=")) {
            config.env.push(format!("PATH={PATH}"));
        }
        for entry in &config.env {
            let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
            stage.state.env.set(name, value);
        }
        if !self.options.hostname.is_empty() {
            stage.state.hostname.clone_from(&self.options.hostname);
        }
        if !config.working_dir.is_empty() {
            config.working_dir = join("/", &config.working_dir);
            stage.state.set_dir(&config.working_dir);
        }
        if !config.user.is_empty() {
            stage.state.user.clone_from(&config.user);
        }
        stage.state.network = network.into();
    }

    /// Expands a word with the variables of a stage.
    fn expand(&mut self, id: StageId, lexer: &Lexer, word: &str, line: u32) -> Result<String, Fault> {
        let stage = &self.stages[id];
        let (word, unset) = lexer.word_and_unset(word, &|name| stage.state.env.get(name))?;
        for name in unset {
            if !self.stages[id].args.iter().any(|(declared, _)| *declared == name) {
                self.warn("UndefinedVar", format!("usage of undefined variable `${name}`"), line);
            }
        }
        Ok(word)
    }

    #[expect(clippy::too_many_lines, reason = "one short arm for each instruction")]
    fn dispatch(&mut self, id: StageId, command: Command) -> Result<(), Fault> {
        let Command { instruction, sources, on_build } = command;
        self.stages[id].on_build = on_build;
        let lines = instruction.lines.clone();
        let line = *lines.start();
        let (lexer, code) = (self.lexer, instruction.code.as_str());
        match instruction.kind {
            Kind::From(_) => {}
            Kind::Maintainer(author) => {
                self.warn("MaintainerDeprecated", "MAINTAINER is deprecated: use a LABEL", line);
                self.commit(id, &format!("MAINTAINER {author}"), false, false);
                self.stages[id].image.author = author;
            }
            Kind::Env(pairs) => {
                let mut expanded = Vec::new();
                for pair in pairs {
                    self.legacy(pair.delimited, "ENV", line);
                    let name = self.expand(id, &lexer, &pair.name, line)?;
                    expanded.push((name, self.expand(id, &lexer, &pair.value, line)?));
                }
                let mut message = "ENV".to_owned();
                let stage = &mut self.stages[id];
                for (name, value) in expanded {
                    message.push_str(&format!(" {name}={value}"));
                    stage.state.env.set(&name, &value);
                    let entry = format!("{name}={value}");
                    let is_it = |entry: &&mut String| entry.split('=').next() == Some(&*name);
                    match stage.image.config.env.iter_mut().find(is_it) {
                        Some(known) => *known = entry,
                        None => stage.image.config.env.push(entry),
                    }
                }
                self.commit(id, &message, false, false);
            }
            Kind::Label(pairs) => {
                let mut message = "LABEL".to_owned();
                for pair in pairs {
                    self.legacy(pair.delimited, "LABEL", line);
                    let name = self.expand(id, &lexer, &pair.name, line)?;
                    let value = self.expand(id, &lexer, &pair.value, line)?;
                    message.push_str(&format!(" {name}={value}"));
                    self.stages[id].image.config.labels.insert(name, value);
                }
                self.commit(id, &message, false, false);
            }
            Kind::Arg(list) => self.arguments(id, list, line)?,
            Kind::Run(run) => {
                let mut mounts = Vec::new();
                for text in &run.mounts {
                    let parsed = mount::parse(text, &mut |word| self.expand(id, &lexer, word, line))?;
                    mounts.push(parsed);
                }
                let mounts: Vec<(Mount, StageId)> = mounts.into_iter().zip(sources).collect();
                self.run(id, run, &mounts, (code, &lines))?;
            }
            Kind::Add(files) => {
                let files = self.expanded(id, files, line)?;
                self.copy(id, &files, None, true, (code, &lines))?;
                let local = |source: &&String| !source.starts_with("http://") && !source.starts_with("https://");
                let paths: Vec<&String> = files.sources.iter().filter(local).collect();
                self.needs(&paths, &lines);
            }
            Kind::Copy(files) => {
                let files = self.expanded(id, files, line)?;
                let source = sources.first().copied();
                if let Some(source) = source.filter(|source| !self.stages[*source].dispatched) {
                    let fault = Fault::new(format!(
                        "stage `{}` must stand before this one to copy from it",
                        self.stages[source].name
                    ));
                    return Err(fault.about(files.from));
                }
                self.copy(id, &files, source, false, (code, &lines))?;
                match source {
                    None => self.needs(&files.sources.iter().collect::<Vec<_>>(), &lines),
                    Some(source) => {
                        let paths = self.stages[source].paths;
                        self.paths[paths].extend(files.sources.iter().map(|path| join("/", path)));
                    }
                }
            }
            Kind::Workdir(path) => {
                let path = self.expand(id, &lexer, &path, line)?;
                self.workdir(id, &path, (code, &lines))?;
            }
            Kind::User(user) => {
                let user = self.expand(id, &lexer, &user, line)?;
                self.commit(id, &format!("USER {user}"), false, false);
                let stage = &mut self.stages[id];
                stage.state.user.clone_from(&user);
                stage.image.config.user = user;
            }
            Kind::Cmd(command) => {
                let args = self.command_args(id, &command, "CMD", line);
                self.commit(id, &format!("CMD {}", quoted_list(&args)), false, false);
                let stage = &mut self.stages[id];
                stage.has_cmd = true;
                stage.image.config.cmd = args;
                stage.image.config.args_escaped = true;
            }
            Kind::Entrypoint(command) => {
                let args = self.command_args(id, &command, "ENTRYPOINT", line);
                self.commit(id, &format!("ENTRYPOINT {}", quoted_list(&args)), false, false);
                let stage = &mut self.stages[id];
                stage.image.config.entrypoint = args;
                if !stage.has_cmd {
                    stage.image.config.cmd = Vec::new();
                }
            }
            Kind::Healthcheck(check) => {
                self.commit(id, &format!("HEALTHCHECK {}", written(&check)), false, false);
                self.stages[id].image.config.healthcheck = Some(check);
            }
            Kind::Expose(list) => {
                let mut all = Vec::new();
                for word in list {
                    let stage = &self.stages[id];
                    for port in lexer.words(&word, &|name| stage.state.env.get(name))? {
                        all.extend(ports(&port)?);
                    }
                }
                self.commit(id, &format!("EXPOSE [{}]", all.join(" ")), false, false);
                self.stages[id].image.config.exposed_ports.extend(all.into_iter().map(|port| (port, Empty {})));
            }
            Kind::Volume(list) => {
                let mut all = Vec::new();
                for word in list {
                    let volume = self.expand(id, &lexer, &word, line)?;
                    if volume.is_empty() {
                        return Err(Fault::new("VOLUME cannot be an empty string").about(word));
                    }
                    all.push(volume);
                }
                self.commit(id, &format!("VOLUME [{}]", all.join(" ")), false, false);
                self.stages[id].image.config.volumes.extend(all.into_iter().map(|volume| (volume, Empty {})));
            }
            Kind::Stopsignal(word) => {
                let signal = self.expand(id, &lexer, &word, line)?;
                if !is_signal(&signal) {
                    let fault = Fault::new(format!("`{signal}` is no signal")).about(word);
                    return Err(fault.help("write a number, or a name such as SIGTERM"));
                }
                self.commit(id, &format!("STOPSIGNAL {signal}"), false, false);
                self.stages[id].image.config.stop_signal = signal;
            }
            Kind::Shell(shell) => {
                self.commit(id, &format!("SHELL [{}]", shell.join(" ")), false, false);
                self.stages[id].image.config.shell = shell;
            }
            Kind::Onbuild(text) => self.stages[id].image.config.on_build.push(text),
        }
        Ok(())
    }

    fn legacy(&mut self, delimited: bool, keyword: &str, line: u32) {
        if !delimited {
            self.warn(
                "LegacyKeyValueFormat",
                format!("write {keyword} NAME=VALUE instead of {keyword} NAME VALUE"),
                line,
            );
        }
    }

    pub(super) fn commit(&mut self, id: StageId, message: &str, layer: bool, state: bool) {
        let created = self.created.clone();
        self.stages[id].image.commit(message, layer, state, created.as_ref());
    }

    /// Marks paths of the build context as needed.
    pub(super) fn needs(&mut self, sources: &[&String], lines: &Lines) {
        for source in sources {
            let path = join("/", source);
            self.paths[CONTEXT].insert(path.clone());
            let path = path.trim_start_matches('/').to_owned();
            let picture = picture(self.file, lines, Some(source));
            self.context_paths.push(ContextPath { path, picture });
        }
    }

    fn command_args(&mut self, id: StageId, command: &CommandLine, keyword: &str, line: u32) -> Vec<String> {
        let image = &self.stages[id].image;
        if !command.shell {
            return command.args.clone();
        }
        let args = image.with_shell(&command.args);
        if image.config.shell.is_empty() {
            let message = format!("JSON arguments are recommended for {keyword}: a shell does not pass signals on");
            self.warn("JSONArgsRecommended", message, line);
        }
        args
    }

    fn arguments(&mut self, id: StageId, list: Vec<Argument>, line: u32) -> Result<(), Fault> {
        let mut shown = Vec::new();
        for Argument { name, value } in list {
            let global = if value.is_none() { self.globals.get(&name) } else { None };
            let value = match (self.build_args.get(&name).cloned(), value) {
                (Some(given), _) => Some(given),
                (None, Some(default)) => {
                    let lexer = self.lexer;
                    Some(self.expand(id, &lexer, &default, line)?)
                }
                (None, None) => global,
            };
            let stage = &mut self.stages[id];
            match &value {
                Some(value) => {
                    if !matches!(name.as_str(), "BUILDKIT_SBOM_SCAN_CONTEXT" | "BUILDKIT_SBOM_SCAN_STAGE") {
                        stage.state.env.set(&name, value);
                    }
                    shown.push(format!("{name}={value}"));
                }
                None => shown.push(name.clone()),
            }
            stage.args.push((name, value));
        }
        self.commit(id, &format!("ARG {}", shown.join(" ")), false, false);
        Ok(())
    }

    fn expanded(&mut self, id: StageId, files: Files, line: u32) -> Result<Files, Fault> {
        let lexer = self.lexer;
        let mut files = files;
        for word in [&mut files.chown, &mut files.chmod, &mut files.checksum] {
            *word = self.expand(id, &lexer, word, line)?;
        }
        for word in &mut files.sources {
            *word = self.expand(id, &lexer, word, line)?;
        }
        files.dest = self.expand(id, &lexer, &files.dest, line)?;
        let raw = Lexer { skip_quotes: true, ..Lexer::new('\\') };
        for document in files.documents.iter_mut().filter(|document| document.expand) {
            document.content = self.expand(id, &raw, &document.content, line)?;
        }
        Ok(files)
    }

    fn workdir(&mut self, id: StageId, path: &str, (code, lines): (&str, &Lines)) -> Result<(), Fault> {
        let stage = &mut self.stages[id];
        let dir = join(&stage.image.config.working_dir, path);
        stage.image.config.working_dir.clone_from(&dir);
        stage.state.set_dir(&dir);
        let is_layer = dir != "/";
        if is_layer {
            let (user, has_tree) = (stage.image.config.user.clone(), stage.state.out.is_some());
            let directory = pb::FileActionMkDir {
                path: dir.clone(),
                mode: 0o755,
                make_parents: true,
                owner: if user.is_empty() { None } else { Some(owner(&user, has_tree)?) },
                timestamp: self.epoch.map_or(-1, |epoch| epoch.saturating_mul(1_000_000_000)),
            };
            let name = self.file_name(id, code);
            let base = self.stages[id].state.out;
            let action = pb::file_action::Action::Mkdir(directory);
            let steps = vec![FileStep { base, from: None, action }];
            self.stages[id].state.out = Some(self.file_node(steps, &name, Some(lines), false));
        }
        self.commit(id, &format!("WORKDIR {dir}"), is_layer, false);
        Ok(())
    }

    /// The name of a vertex of files, with the variables of the stage in it.
    pub(super) fn file_name(&mut self, id: StageId, code: &str) -> String {
        let stage = &mut self.stages[id];
        let env = stage.state.env.clone();
        let name = shown(&self.lexer, code, &|name| env.get(name));
        let platform = stage.platform.clone().filter(|_| self.options.multi_platform);
        stage.numbered(&name, platform.as_ref(), &env)
    }

    pub(super) fn file_node(
        &mut self,
        steps: Vec<FileStep>,
        name: &str,
        lines: Option<&Lines>,
        ignore_cache: bool,
    ) -> usize {
        let metadata = pb::OpMetadata { ignore_cache, ..metadata(name, &["file.base"]) };
        self.push(Node { act: Act::File(steps), platform: None, metadata, lines: lines.cloned() })
    }

    /// Proxies of build arguments, which reach steps without being in any cache key.
    pub(super) fn proxies(&self) -> Option<pb::ProxyEnv> {
        let mut found = pb::ProxyEnv::default();
        let by_name: BTreeMap<&String, &String> = self.build_args.iter().collect();
        let mut is_set = false;
        for (name, value) in by_name {
            let field = match name.to_lowercase().as_str() {
                "http_proxy" => &mut found.http_proxy,
                "https_proxy" => &mut found.https_proxy,
                "ftp_proxy" => &mut found.ftp_proxy,
                "no_proxy" => &mut found.no_proxy,
                "all_proxy" => &mut found.all_proxy,
                _ => continue,
            };
            field.clone_from(value);
            is_set = true;
        }
        is_set.then_some(found)
    }
}

/// Go's `%+v` of a health check.
fn written(check: &Healthcheck) -> String {
    format!(
        "{{Test:[{}] Interval:{} Timeout:{} StartPeriod:{} StartInterval:{} Retries:{}}}",
        check.test.join(" "),
        format_duration(check.interval),
        format_duration(check.timeout),
        format_duration(check.start_period),
        format_duration(check.start_interval),
        check.retries
    )
}

/// Signals of Linux (`moby/sys/signal`): a number, or a name with or without `SIG`.
fn is_signal(text: &str) -> bool {
    const NAMES: [&str; 36] = [
        "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL", "PIPE", "POLL",
        "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU", "URG", "USR1",
        "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "RTMIN", "RTMAX",
    ];
    if let Ok(number) = text.parse::<u32>() {
        return number > 0;
    }
    let upper = text.to_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let offset = |prefix: &str, most: u32| {
        name.strip_prefix(prefix).and_then(|rest| rest.parse::<u32>().ok()).is_some_and(|number| number <= most)
    };
    NAMES.contains(&name) || offset("RTMIN+", 15) || offset("RTMAX-", 14)
}

#[cfg(test)]
mod tests {
    use super::super::state::Env;
    use super::*;

    #[test]
    fn signals_are_those_of_linux() {
        assert!(["SIGTERM", "term", "9", "SIGRTMIN+3", "RTMAX-14"].iter().all(|text| is_signal(text)));
        assert!(["", "0", "SIGFOO", "RTMIN+99", "-1"].iter().all(|text| !is_signal(text)));
    }

    #[test]
    fn a_variable_changed_again_moves_to_the_end() {
        let mut env = Env::default();
        for name in ["a", "b", "a"] {
            env.set(name, "x");
        }
        assert_eq!(env.list(), ["b=x", "a=x"]);
    }
}
