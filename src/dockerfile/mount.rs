//! `--mount` of `RUN` (`instructions/commands_runmount.go`).

use super::error::Fault;
use super::numbers::{parse_bool, parse_size};

/// What is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum MountType {
    #[default]
    Bind,
    Cache,
    Tmpfs,
    Secret,
    Ssh,
}

const TYPES: [(&str, MountType); 5] = [
    ("bind", MountType::Bind),
    ("cache", MountType::Cache),
    ("tmpfs", MountType::Tmpfs),
    ("secret", MountType::Secret),
    ("ssh", MountType::Ssh),
];

const SHARING: [&str; 3] = ["shared", "private", "locked"];

const KEYS: [&str; 19] = [
    "type",
    "from",
    "source",
    "target",
    "readonly",
    "id",
    "sharing",
    "required",
    "size",
    "mode",
    "uid",
    "gid",
    "src",
    "dst",
    "destination",
    "ro",
    "rw",
    "readwrite",
    "env",
];

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Mount {
    pub(super) kind: MountType,
    pub(super) from: String,
    pub(super) source: String,
    pub(super) target: String,
    pub(super) read_only: bool,
    pub(super) size: i64,
    pub(super) id: String,
    /// `shared`, `private` or `locked`; empty where it is not said.
    pub(super) sharing: String,
    pub(super) required: bool,
    /// The variable that a secret is put into.
    pub(super) env: Option<String>,
    pub(super) mode: Option<u32>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
}

impl Mount {
    /// Tells whether an owner or a mode is asked for.
    pub(super) fn has_looks(&self) -> bool {
        self.uid.is_some() || self.gid.is_some() || self.mode.is_some()
    }
}

/// Splits a value at commas, as a line of a table of values (`csvvalue.Fields`): `"a,b"` is one field.
pub(super) fn fields(text: &str) -> Result<Vec<String>, Fault> {
    let (mut all, mut field, mut rest) = (Vec::new(), String::new(), text.chars().peekable());
    loop {
        if rest.next_if_eq(&'"').is_some() {
            loop {
                match rest.next() {
                    Some('"') if rest.next_if_eq(&'"').is_some() => field.push('"'),
                    Some('"') => break,
                    Some(c) => field.push(c),
                    None => return Err(Fault::new(format!("a quote is not ended in `{text}`")).about(text)),
                }
            }
        }
        match rest.next() {
            Some(',') => {
                all.push(std::mem::take(&mut field));
                continue;
            }
            Some(c) => field.push(c),
            None => {
                all.push(field);
                return Ok(all);
            }
        }
        while let Some(c) = rest.next_if(|c| *c != ',') {
            field.push(c);
        }
    }
}

/// Returns the value of `from`, which no variable may stand in since it decides on what is built.
pub(super) fn source_stage(text: &str) -> Result<String, Fault> {
    let mut from = String::new();
    for field in fields(text)? {
        if let Some((key, value)) = field.split_once('=')
            && key.eq_ignore_ascii_case("from")
        {
            if value.find('$').is_some_and(|at| at + 1 != value.len()) {
                let fault = Fault::new("`from` of a mount does not support variables").about(field.clone());
                return Err(fault.help("define a stage with FROM and name that"));
            }
            value.clone_into(&mut from);
        }
    }
    Ok(from)
}

/// Parses a mount; `expand` expands the variables of its values.
pub(super) fn parse(text: &str, expand: &mut dyn FnMut(&str) -> Result<String, Fault>) -> Result<Mount, Fault> {
    let mut mount = Mount::default();
    let mut read_only = None;
    for field in fields(text)? {
        let Some((key, value)) = field.split_once('=') else {
            match field.to_lowercase().as_str() {
                "readonly" | "ro" => read_only = Some(true),
                "readwrite" | "rw" => read_only = Some(false),
                "required" => {
                    only_for(&mount, &field, "required", &[MountType::Secret, MountType::Ssh])?;
                    mount.required = true;
                }
                _ => return Err(Fault::new(format!("`{field}` of a mount is no key=value pair")).about(field)),
            }
            continue;
        };
        let value = expand(value)?;
        let wrong = || Fault::new(format!("invalid value for {key}: `{value}`")).about(field.clone());
        let truth = || parse_bool(&value).ok_or_else(wrong);
        let number = |radix| u32::from_str_radix(&value, radix).map(Some).map_err(|_| wrong());
        match key.to_lowercase().as_str() {
            "type" => {
                let lower = value.to_lowercase();
                mount.kind = TYPES.iter().find(|(name, _)| *name == lower).map(|(_, kind)| *kind).ok_or_else(|| {
                    let fault = Fault::new(format!("mount type `{value}` is unsupported")).about(field.clone());
                    fault.help("types: bind, cache, tmpfs, secret, ssh").meant(&lower, TYPES.map(|(name, _)| name))
                })?;
            }
            "from" => mount.from = value,
            "source" | "src" => mount.source = value,
            "target" | "dst" | "destination" => mount.target = value,
            "readonly" | "ro" => read_only = Some(truth()?),
            "readwrite" | "rw" => read_only = Some(!truth()?),
            "required" => {
                only_for(&mount, &field, "required", &[MountType::Secret, MountType::Ssh])?;
                mount.required = truth()?;
            }
            "size" => {
                only_for(&mount, &field, "size", &[MountType::Tmpfs])?;
                mount.size = parse_size(&value).ok_or_else(wrong)?;
            }
            "id" => mount.id = value,
            "sharing" => {
                mount.sharing = value.to_lowercase();
                if !SHARING.contains(&mount.sharing.as_str()) {
                    return Err(wrong().help("sharing: shared, private, locked"));
                }
            }
            "mode" => mount.mode = number(8)?,
            "uid" => mount.uid = number(10)?,
            "gid" => mount.gid = number(10)?,
            "env" => mount.env = Some(value),
            lower => {
                let fault = Fault::new(format!("unexpected key `{key}` of a mount")).about(field.clone());
                return Err(fault.help(format!("keys: {}", KEYS.join(", "))).meant(lower, KEYS));
            }
        }
    }
    check(&mount, text)?;
    mount.read_only = read_only.unwrap_or(!matches!(mount.kind, MountType::Cache | MountType::Tmpfs));
    Ok(mount)
}

fn only_for(mount: &Mount, field: &str, key: &str, kinds: &[MountType]) -> Result<(), Fault> {
    if kinds.contains(&mount.kind) {
        return Ok(());
    }
    let names: Vec<&str> = TYPES.iter().filter(|(_, kind)| kinds.contains(kind)).map(|(name, _)| *name).collect();
    let fault = Fault::new(format!("`{key}` is for mounts of type {} only", names.join(" and "))).about(field);
    Err(fault.help("write type=… before it"))
}

fn check(mount: &Mount, text: &str) -> Result<(), Fault> {
    let fail = |message: &str| Err(Fault::new(message).about(text));
    if mount.has_looks() && matches!(mount.kind, MountType::Bind | MountType::Tmpfs) {
        return fail("mode, uid and gid are for mounts of type cache, secret and ssh only");
    }
    if !mount.sharing.is_empty() && mount.kind != MountType::Cache {
        return fail("sharing is for mounts of type cache only");
    }
    if mount.kind == MountType::Secret {
        if !mount.from.is_empty() {
            return fail("a secret is not from anywhere");
        }
        if mount.source.is_empty() && mount.target.is_empty() && mount.id.is_empty() {
            return fail("a secret needs an id or a target");
        }
        if !mount.source.is_empty() && !mount.id.is_empty() {
            return fail("a secret has an id or a source, not both");
        }
    }
    if mount.kind == MountType::Ssh && !mount.source.is_empty() {
        return fail("a mount of type ssh has no source");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Mount, String> {
        parse(text, &mut |value| Ok(value.to_owned())).map_err(|fault| fault.message)
    }

    #[test]
    fn mounts_have_the_keys_of_buildkit() {
        let mount = parsed("type=cache,target=/c,id=x,sharing=locked,uid=5,gid=6,mode=0700").expect("valid");
        assert_eq!(
            (mount.kind, mount.uid, mount.mode, mount.read_only),
            (MountType::Cache, Some(5), Some(0o700), false)
        );
        assert!(parsed("from=x,target=/y").expect("valid").read_only);
        assert!(!parsed("target=/y,rw").expect("valid").read_only);
        assert_eq!(parsed("type=tmpfs,target=/t,size=64m").expect("valid").size, 64 << 20);
        assert_eq!(parsed("type=secret,\"id=a,b\"").expect("valid").id, "a,b");
        for wrong in [
            "type=bnd",
            "target",
            "uid=5,target=/x",
            "type=secret",
            "type=secret,id=a,src=b",
            "size=1,type=tmpfs",
            "type=cache,sharing=x",
            "type=cache,mode=9",
            "frm=x",
            "type=ssh,source=x",
            "\"a",
            "type=secret,id=a,from=b",
        ] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
        assert!(source_stage("from=$x").is_err());
        assert_eq!(source_stage("target=/a,from=b").as_deref(), Ok("b"));
    }
}
