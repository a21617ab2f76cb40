//! Nodes become a definition, in the order and the bytes that BuildKit's client makes (`client/llb/state.go marshal`).

use std::collections::{BTreeMap, BTreeSet};

use prost::Message as _;

use super::lines::Lines;
use super::nodes::{Act, Exec, FileStep, Local, Node, NodeId};
use crate::llb::{op, pb, source};
use crate::oci::Digest;
use crate::pattern::clean;

/// What all nodes have in common.
#[derive(Debug)]
pub(super) struct Surroundings<'a> {
    pub(super) nodes: &'a [Node],
    /// By `PathsId`.
    pub(super) paths: &'a [BTreeSet<String>],
    pub(super) unique: &'a str,
    pub(super) filename: &'a str,
    pub(super) text: &'a str,
}

struct Marshal<'a> {
    around: &'a Surroundings<'a>,
    done: BTreeMap<NodeId, Digest>,
    definition: pb::Definition,
    locations: BTreeMap<String, pb::Locations>,
}

/// Marshals what `output` needs.
pub(super) fn marshal(around: &Surroundings<'_>, output: NodeId) -> pb::Definition {
    let mut marshal =
        Marshal { around, done: BTreeMap::new(), definition: pb::Definition::default(), locations: BTreeMap::new() };
    // By hand, so that a Dockerfile of many lines cannot exhaust the stack.
    let mut open = vec![(output, around.nodes[output].inputs().into_iter())];
    while let Some((node, inputs)) = open.last_mut() {
        match inputs.next() {
            Some(input) if marshal.done.contains_key(&input) => {}
            Some(input) => open.push((input, around.nodes[input].inputs().into_iter())),
            None => {
                let node = *node;
                open.pop();
                marshal.add(node);
            }
        }
    }
    marshal.end(output)
}

impl Marshal<'_> {
    fn add(&mut self, id: NodeId) {
        let node = &self.around.nodes[id];
        let mut metadata = node.metadata.clone();
        let mut inputs = Vec::new();
        let operation = match &node.act {
            Act::Source(op) => pb::op::Op::Source(op.clone()),
            Act::Local(local) => pb::op::Op::Source(self.local(local, &mut metadata)),
            Act::Exec(exec) => pb::op::Op::Exec(self.exec(exec, &mut inputs, &mut metadata)),
            Act::File(steps) => pb::op::Op::File(self.file(steps, &mut inputs)),
            Act::Merge(nodes) => {
                inputs = nodes.iter().map(|node| self.input(*node)).collect();
                op::merge(nodes.len())
            }
        };
        let op = pb::Op {
            inputs,
            platform: node.platform.clone(),
            constraints: Some(pb::WorkerConstraints::default()),
            op: None,
        };
        // Go's encoder writes the operation, a `oneof`, behind all other fields; messages one after the other are one.
        let mut bytes = op.encode_to_vec();
        let operation = pb::Op { op: Some(operation), ..pb::Op::default() };
        bytes.extend(operation.encode_to_vec());
        let digest = Digest::of(&bytes);
        self.done.insert(id, digest);
        let key = digest.to_string();
        // Also where nothing is written down, as BuildKit has it.
        self.locations.entry(key.clone()).or_default().locations.extend(node.lines.as_ref().map(location));
        if let Some(known) = self.definition.metadata.get_mut(&key) {
            merge(known, metadata);
        } else {
            self.definition.metadata.insert(key, metadata);
            self.definition.def.push(bytes);
        }
    }

    fn input(&self, node: NodeId) -> pb::Input {
        let digest = self.done.get(&node).expect("inputs are marshalled first");
        pb::Input { digest: digest.to_string(), index: 0 }
    }

    fn local(&self, local: &Local, metadata: &mut pb::OpMetadata) -> pb::SourceOp {
        let mut attrs = BTreeMap::new();
        let mut set = |attr: &str, cap: &str, value: String| {
            if !value.is_empty() {
                attrs.insert(attr.to_owned(), value);
                metadata.caps.insert(cap.to_owned(), true);
            }
        };
        let list = |list: &[String]| if list.is_empty() { String::new() } else { go_json(list) };
        set(source::LOCAL_FOLLOW, "source.local.followpaths", list(&follow(&self.around.paths[local.paths])));
        set(source::LOCAL_EXCLUDE, "source.local.excludepatterns", list(&local.excludes));
        set(source::LOCAL_SHARED_KEY, "source.local.sharedkeyhint", local.shared_key.clone());
        set(source::LOCAL_UNIQUE, "source.local.unique", self.around.unique.to_owned());
        pb::SourceOp { identifier: format!("{}{}", op::LOCAL, local.name), attrs }
    }

    fn exec(&self, exec: &Exec, inputs: &mut Vec<pb::Input>, metadata: &mut pb::OpMetadata) -> pb::ExecOp {
        let mut cap = |name: &str| _ = metadata.caps.insert(name.to_owned(), true);
        cap("exec.meta.base");
        cap("exec.meta.setsdefaultpath");
        let mut mounts = Vec::new();
        let mut outputs = 0;
        for spec in &exec.mounts {
            let mut mount = spec.mount.clone();
            let kind = mount.mount_type();
            let (is_cache, is_tmpfs) = (kind == pb::MountType::Cache, kind == pb::MountType::Tmpfs);
            mount.input = spec.source.map_or(-1, |node| numbered(inputs, self.input(node)));
            mount.output = -1;
            if !spec.no_output && !mount.readonly && !is_cache && !is_tmpfs {
                mount.output = outputs;
                outputs += 1;
            }
            if !mount.selector.is_empty() {
                cap("exec.mount.selector");
            }
            if is_cache {
                cap("exec.mount.cache");
                cap("exec.mount.cache.sharing");
            } else if is_tmpfs {
                cap("exec.mount.tmpfs");
                if mount.tmpfs_opt.is_some_and(|tmpfs| tmpfs.size > 0) {
                    cap("exec.mount.tmpfs.size");
                }
            } else if spec.source.is_some() {
                cap("exec.mount.bind");
            }
            mounts.push(mount);
        }
        let needs = [
            ("exec.mount.secret", !exec.secrets.is_empty() || !exec.secret_env.is_empty()),
            ("exec.secretenv", !exec.secret_env.is_empty()),
            ("exec.mount.ssh", !exec.agents.is_empty()),
            ("exec.meta.cdi", !exec.devices.is_empty()),
            ("exec.meta.network", exec.network != 0),
            ("exec.meta.security", exec.security != 0),
            ("exec.meta.proxyenv", exec.meta.proxy_env.is_some()),
            ("exec.meta.ulimit", !exec.meta.ulimit.is_empty()),
        ];
        needs.iter().filter(|(_, needed)| *needed).for_each(|(name, _)| cap(name));
        mounts.extend(exec.secrets.iter().chain(&exec.agents).cloned());
        pb::ExecOp {
            meta: Some(exec.meta.clone()),
            mounts,
            network: exec.network,
            security: exec.security,
            secretenv: exec.secret_env.clone(),
            cdi_devices: exec.devices.clone(),
        }
    }

    fn file(&self, steps: &[FileStep], inputs: &mut Vec<pb::Input>) -> pb::FileOp {
        let mut numbers = Vec::new();
        for step in steps {
            let base = step.base.map_or(-1, |node| numbered(inputs, self.input(node)));
            let from = step.from.map_or(-1, |node| numbered(inputs, self.input(node)));
            numbers.push((base, from));
        }
        let (count, last) = (number(inputs.len()), steps.len() - 1);
        let action = |(index, (step, (base, from))): (usize, (&FileStep, &(i64, i64)))| pb::FileAction {
            input: if index == 0 { *base } else { count + number(index) - 1 },
            secondary_input: *from,
            output: if index == last { 0 } else { -1 },
            action: Some(named_by(step.action.clone(), *base)),
        };
        pb::FileOp { actions: steps.iter().zip(&numbers).enumerate().map(action).collect() }
    }

    fn end(mut self, output: NodeId) -> pb::Definition {
        let last = pb::Op { inputs: vec![self.input(output)], ..pb::Op::default() }.encode_to_vec();
        let mut caps = vec!["constraints", "platform"];
        if self.definition.metadata.values().any(|metadata| metadata.ignore_cache) {
            caps.push("meta.ignorecache");
        }
        if self.definition.metadata.values().any(|metadata| !metadata.description.is_empty()) {
            caps.push("meta.description");
        }
        let caps = caps.into_iter().map(|cap| (cap.to_owned(), true)).collect();
        let metadata = pb::OpMetadata { caps, ..pb::OpMetadata::default() };
        self.definition.metadata.insert(Digest::of(&last).to_string(), metadata);
        self.definition.def.push(last);
        let info = pb::SourceInfo {
            filename: self.around.filename.to_owned(),
            data: self.around.text.as_bytes().to_vec(),
            definition: None,
            language: "Dockerfile".to_owned(),
        };
        let infos =
            if self.locations.values().all(|found| found.locations.is_empty()) { Vec::new() } else { vec![info] };
        self.definition.source = Some(pb::Source { locations: self.locations, infos });
        self.definition
    }
}

fn number(index: usize) -> i64 {
    i64::try_from(index).unwrap_or(i64::MAX)
}

/// Returns the number of an input; equal ones are one.
fn numbered(inputs: &mut Vec<pb::Input>, input: pb::Input) -> i64 {
    let at = inputs.iter().position(|known| *known == input).unwrap_or(inputs.len());
    if at == inputs.len() {
        inputs.push(input);
    }
    number(at)
}

/// Names of owners are looked up in the tree that is changed.
fn named_by(mut action: pb::file_action::Action, base: i64) -> pb::file_action::Action {
    use pb::file_action::Action;
    let owner = match &mut action {
        Action::Copy(copy) => &mut copy.owner,
        Action::Mkfile(file) => &mut file.owner,
        Action::Mkdir(directory) => &mut directory.owner,
        Action::Symlink(link) => &mut link.owner,
        Action::Rm(_) => &mut None,
    };
    let users = owner.iter_mut().flat_map(|owner| [&mut owner.user, &mut owner.group]).flatten();
    for user in users {
        if let Some(pb::user_opt::User::ByName(named)) = &mut user.user {
            named.input = base;
        }
    }
    action
}

/// What one operation is called twice: the later names win (`state.go mergeMetadata`).
fn merge(known: &mut pb::OpMetadata, other: pb::OpMetadata) {
    known.ignore_cache |= other.ignore_cache;
    known.description.extend(other.description);
    known.caps.extend(other.caps);
    known.progress_group = other.progress_group.or(known.progress_group.take());
}

/// One range a line, as the front end has it.
fn location(lines: &Lines) -> pb::Location {
    let at = |line: u32| pb::Position { line: i32::try_from(line).unwrap_or(i32::MAX), character: 0 };
    // Nobody reads more, and the lines are a stranger's.
    let ranges = lines.clone().take(10_000).map(|line| pb::Range { start: Some(at(line)), end: Some(at(line)) });
    pb::Location { source_index: 0, ranges: ranges.collect() }
}

/// Which paths of a directory are needed; none of them means all (`normalizeContextPaths`).
fn follow(paths: &BTreeSet<String>) -> Vec<String> {
    if paths.contains("/") {
        return Vec::new();
    }
    let mut all: Vec<String> = paths.iter().map(|path| clean(&format!("./{path}"))).collect();
    all.sort();
    all
}

/// Writes JSON as Go does, which escapes what HTML could stumble over.
fn go_json(list: &[String]) -> String {
    let text = serde_json::to_string(list).expect("strings are JSON");
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => escaped.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => escaped.push(c),
        }
    }
    escaped
}
