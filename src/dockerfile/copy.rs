//! `COPY` and `ADD` become file operations (`convert_copy.go`).

use super::error::Fault;
use super::git::GitRef;
use super::instruction::Files;
use super::lines::Lines;
use super::lower::Lowering;
use super::nodes::{Act, FileStep, Node, NodeId, metadata, owner, with_command};
use super::stage::StageId;
use super::state::{join, join_keeping_slash};
use crate::llb::{pb, source};
use crate::oci::Digest;
use crate::pattern::clean;

/// How modes are set.
#[derive(Debug, Clone, Default)]
struct Mode {
    number: Option<i32>,
    symbolic: String,
}

impl Lowering<'_> {
    pub(super) fn copy(
        &mut self,
        id: StageId,
        files: &Files,
        from: Option<StageId>,
        is_add: bool,
        (code, lines): (&str, &Lines),
    ) -> Result<(), Fault> {
        let mode = Mode::parse(&files.chmod)?;
        if !files.checksum.is_empty() {
            check_checksum(files)?;
        }
        let name = self.file_name(id, code);
        let state = &self.stages[id].state;
        let base = state.out;
        let (link, from_node) = (files.link && files.chmod.is_empty(), self.source_of(from));
        let dest = clean_keeping_slash(&join_keeping_slash(state.dir(), &files.dest));
        let template = pb::FileActionCopy {
            dest,
            owner: if files.chown.is_empty() { None } else { Some(owner(&files.chown, base.is_some() && !link)?) },
            mode: mode.number.unwrap_or(if mode.symbolic.is_empty() { -1 } else { 0 }),
            mode_str: mode.symbolic,
            create_dest_path: true,
            timestamp: -1,
            exclude_patterns: files.exclude.clone(),
            ..pb::FileActionCopy::default()
        };
        let mut steps = Vec::new();
        for word in &files.sources {
            let (copy, node) = match Remote::of(word)? {
                Some(_) if !is_add => {
                    let fault = Fault::new("COPY takes files only").about(word.clone());
                    return Err(fault.help("use ADD for what must be fetched"));
                }
                Some(Remote::Git(git)) => {
                    let node = self.push(repository(*git, files)?.node(&name));
                    (pb::FileActionCopy { src: "/".to_owned(), ..template.clone() }, Some(node))
                }
                Some(Remote::Http) => {
                    let (node, file) = download(word, files, &name);
                    let unpack = files.unpack == Some(true);
                    let src = join("/", &file);
                    let copy =
                        pb::FileActionCopy { src, attempt_unpack_docker_compatibility: unpack, ..template.clone() };
                    (copy, Some(self.push(node)))
                }
                None => (local(word, files, is_add, &template), from_node),
            };
            steps.push((node, copy));
        }
        for document in &files.documents {
            let node = self.document(&document.name, 0o644, document.content.clone().into_bytes());
            let src = join("/", &document.name);
            steps.push((Some(node), pb::FileActionCopy { src, ..template.clone() }));
        }
        let base_of_copy = if link { None } else { base };
        let steps = steps.into_iter().map(|(from, copy)| FileStep {
            base: base_of_copy,
            from,
            action: pb::file_action::Action::Copy(copy),
        });
        let steps: Vec<FileStep> = steps.collect();
        let ignore_cache = self.stages[id].ignore_cache;
        let node = self.file_node(steps, &name, Some(lines), ignore_cache);
        let out = match base {
            Some(base) if link => self.linked(id, (base, node), code, &name, lines),
            _ => node,
        };
        self.stages[id].state.out = Some(out);
        self.commit(id, &history(files, is_add), true, true);
        Ok(())
    }

    fn source_of(&self, from: Option<StageId>) -> Option<NodeId> {
        match from {
            Some(stage) => self.stages[stage].state.out,
            None => Some(self.context),
        }
    }

    /// Puts a copy on top of a tree without looking at that: `--link`.
    fn linked(&mut self, id: StageId, (base, copy): (NodeId, NodeId), code: &str, name: &str, lines: &Lines) -> NodeId {
        let group = Digest::of(format!("{id} {copy} {name}").as_bytes()).short();
        let group = |weak| Some(pb::ProgressGroup { id: group.clone(), name: name.to_owned(), weak });
        self.nodes[copy].metadata.progress_group = group(true);
        self.stages[id].index -= usize::from(self.stages[id].total > 0);
        let plain = self.file_name(id, code);
        let (prefix, rest) = plain.split_once("] ").map_or(("", plain.as_str()), |(prefix, rest)| (prefix, rest));
        let shown = if prefix.is_empty() { format!("LINK {rest}") } else { format!("{prefix}] LINK {rest}") };
        let metadata = pb::OpMetadata {
            ignore_cache: self.stages[id].ignore_cache,
            progress_group: group(false),
            ..metadata(&shown, &["mergeop"])
        };
        let act = Act::Merge(vec![base, copy]);
        self.push(Node { act, platform: None, metadata, lines: Some(lines.clone()) })
    }
}

impl Mode {
    /// Octal up to 07777, or words as of chmod(1).
    fn parse(text: &str) -> Result<Self, Fault> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let wrong = || {
            let fault = Fault::new(format!("invalid mode `{text}` of --chmod")).about(text);
            fault.help("write up to four octal digits, or u=rwX,go=rX")
        };
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            let number = i32::from_str_radix(text, 8).ok().filter(|number| *number <= 0o7777).ok_or_else(wrong)?;
            return Ok(Self { number: Some(number), symbolic: String::new() });
        }
        let clause = |clause: &str| {
            let rest = clause.trim_start_matches(['u', 'g', 'o', 'a']);
            rest.starts_with(['+', '-', '=']) && rest.chars().all(|c| "+-=rwxXstugo".contains(c))
        };
        if !text.split(',').all(clause) {
            return Err(wrong());
        }
        Ok(Self { number: None, symbolic: text.to_owned() })
    }
}

/// A source that is fetched.
enum Remote {
    Git(Box<GitRef>),
    Http,
}

impl Remote {
    fn of(text: &str) -> Result<Option<Self>, Fault> {
        if let Some(git) = GitRef::parse(text)? {
            return Ok(Some(Self::Git(Box::new(git))));
        }
        Ok((text.starts_with("http://") || text.starts_with("https://")).then_some(Self::Http))
    }
}

fn check_checksum(files: &Files) -> Result<(), Fault> {
    let fail = |message: &str| Err(Fault::new(message).about(files.checksum.clone()));
    match files.sources.as_slice() {
        [one] => match Remote::of(one)? {
            Some(Remote::Http) if files.checksum.parse::<Digest>().is_err() => fail("--checksum is no SHA-256 digest"),
            Some(_) => Ok(()),
            None => fail("--checksum is for what is fetched by HTTP or git only"),
        },
        _ => fail("--checksum is for one source only"),
    }
}

/// Joins what flags and query of an address say.
fn repository(mut git: GitRef, files: &Files) -> Result<GitRef, Fault> {
    if let (Some(flag), Some(query)) = (files.keep_git_dir, git.keep_git_dir)
        && flag != query
    {
        return Err(Fault::new("--keep-git-dir and the address contradict each other"));
    }
    git.keep_git_dir = git.keep_git_dir.or(files.keep_git_dir);
    if !files.checksum.is_empty() {
        if !git.checksum.is_empty() && git.checksum != files.checksum {
            return Err(Fault::new("--checksum and the address contradict each other").about(files.checksum.clone()));
        }
        git.checksum.clone_from(&files.checksum);
    }
    Ok(git)
}

/// A file of a server, and the name it gets.
fn download(address: &str, files: &Files, name: &str) -> (Node, String) {
    let path = address.split(['?', '#']).next().unwrap_or(address);
    let path = path.split_once("://").map_or(path, |(_, rest)| rest);
    let file = path.split_once('/').map(|(_, path)| clean(&format!("/{path}")));
    let file = file.and_then(|path| path.rsplit('/').next().map(unescaped)).filter(|file| !file.is_empty());
    let file = file.unwrap_or_else(|| "__unnamed__".to_owned());
    let mut metadata = with_command(metadata(name, &["source.http"]), "");
    let mut op = pb::SourceOp {
        identifier: address.to_owned(),
        attrs: [(source::HTTP_FILENAME.to_owned(), file.clone())].into(),
    };
    if !files.checksum.is_empty() {
        op.attrs.insert(source::HTTP_CHECKSUM.to_owned(), files.checksum.clone());
        metadata.caps.insert("source.http.checksum".to_owned(), true);
    }
    (Node { act: Act::Source(op), platform: None, metadata, lines: None }, file)
}

/// Takes percent signs back; what is malformed or would be another path stays.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        let hex = (*first == b'%').then(|| more.get(..2)).flatten().and_then(|hex| std::str::from_utf8(hex).ok());
        if let Some(byte) =
            hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(|byte| !matches!(byte, b'/' | 0))
        {
            bytes.push(byte);
            rest = &more[2..];
        } else {
            bytes.push(*first);
            rest = more;
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

/// A copy of files that are there.
fn local(word: &str, files: &Files, is_add: bool, template: &pb::FileActionCopy) -> pb::FileActionCopy {
    let (mut src, mut include, mut required) = (word.to_owned(), Vec::new(), Vec::new());
    if files.parents {
        // What stands before `/./` is not among the parents.
        let (parent, pattern) = word.split_once("/./").unwrap_or(("/", word));
        let pattern = if pattern.starts_with('/') { pattern.to_owned() } else { join("/", pattern) };
        if !has_wildcards(parent) && !has_wildcards(&pattern) {
            required.push(join("/", &format!("{parent}/{pattern}")));
        }
        include.push(pattern.strip_prefix('/').unwrap_or(&pattern).to_owned());
        parent.clone_into(&mut src);
    }
    pb::FileActionCopy {
        src: join("/", &src),
        follow_symlink: true,
        dir_copy_contents: true,
        attempt_unpack_docker_compatibility: files.unpack.unwrap_or(is_add),
        allow_wildcard: true,
        allow_empty_wildcard: true,
        include_patterns: include,
        required_paths: required,
        ..template.clone()
    }
}

fn has_wildcards(name: &str) -> bool {
    let mut chars = name.chars();
    while let Some(c) = chars.next() {
        match c {
            '*' | '?' | '[' => return true,
            '\\' => _ = chars.next(),
            _ => {}
        }
    }
    false
}

fn clean_keeping_slash(path: &str) -> String {
    join_keeping_slash("/", path)
}

fn history(files: &Files, is_add: bool) -> String {
    let mut message = if is_add { "ADD" } else { "COPY" }.to_owned();
    if files.parents {
        message.push_str(" --parents");
    }
    for (flag, value) in [("chown", &files.chown), ("chmod", &files.chmod)] {
        if !value.is_empty() {
            message.push_str(&format!(" --{flag}={value}"));
        }
    }
    for source in &files.sources {
        message.push_str(&format!(" {source}"));
    }
    for document in &files.documents {
        message.push_str(&format!(" <<{}", document.name));
    }
    message.push_str(&format!(" {}", files.dest));
    message
}
