//! Trees as lists: what a tar holds, and what changed from one to another.
//!
//! Fields are those of the corpus: `type` (f d l h c b p), `mode`, `uid`, `gid`, `size`, `sha256`, `link`, `dev`,
//! `xattrs`, `mtime`. A hard link has the mode, owner and time of its file and neither size nor digest.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{self, Read};

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

/// What is known of one path.
pub(crate) type Fields = Map<String, Value>;

/// Paths from the root, beginning with `/`.
pub(crate) type Listing = BTreeMap<String, Fields>;

/// Changes of a tree by path; the field `op` is `add`, `mod` or `del`.
pub(crate) type Changes = BTreeMap<String, Fields>;

/// Lists an archive that is not compressed.
pub(crate) fn list(archive: impl Read) -> io::Result<Listing> {
    let mut listing = Listing::new();
    let mut archive = tar::Archive::new(archive);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = absolute(&entry.path_bytes());
        let fields = fields(&mut entry)?;
        // The root has no record in the corpus.
        if path != "/" {
            listing.insert(path, fields);
        }
    }
    Ok(listing)
}

fn absolute(path: &[u8]) -> String {
    let path = String::from_utf8_lossy(path);
    format!("/{}", path.trim_start_matches("./").trim_matches('/'))
}

fn fields<R: Read>(entry: &mut tar::Entry<'_, R>) -> io::Result<Fields> {
    let mut fields = Fields::new();
    let header = entry.header();
    let kind = match header.entry_type() {
        tar::EntryType::Directory => "d",
        tar::EntryType::Symlink => "l",
        tar::EntryType::Link => "h",
        tar::EntryType::Char => "c",
        tar::EntryType::Block => "b",
        tar::EntryType::Fifo => "p",
        _ => "f",
    };
    fields.insert("type".to_owned(), kind.into());
    fields.insert("mode".to_owned(), format!("{:04o}", header.mode()? & 0o7777).into());
    fields.insert("uid".to_owned(), header.uid()?.into());
    fields.insert("gid".to_owned(), header.gid()?.into());
    fields.insert("mtime".to_owned(), header.mtime()?.into());
    if matches!(kind, "c" | "b") {
        let number = |part: io::Result<Option<u32>>| part.map(Option::unwrap_or_default);
        let device = format!("{},{}", number(header.device_major())?, number(header.device_minor())?);
        fields.insert("dev".to_owned(), device.into());
    }
    if let Some(link) = entry.link_name_bytes().filter(|_| matches!(kind, "l" | "h")) {
        let link = String::from_utf8_lossy(&link).into_owned();
        let link = if kind == "h" { link.trim_start_matches("./").to_owned() } else { link };
        fields.insert("link".to_owned(), link.into());
    }
    let mut xattrs = Map::new();
    for extension in entry.pax_extensions()?.into_iter().flatten() {
        let extension = extension?;
        let Ok(key) = extension.key() else { continue };
        if let Some(name) = key.strip_prefix("SCHILY.xattr.") {
            xattrs.insert(name.to_owned(), hex(extension.value_bytes()).into());
        }
        // Whole seconds: BuildKit's archives cut the rest off, ours may carry it.
        if let Some(seconds) = extension.value().ok().filter(|_| key == "mtime") {
            let seconds = seconds.split('.').next().and_then(|whole| whole.parse::<i64>().ok());
            fields.insert("mtime".to_owned(), json!(seconds));
        }
    }
    if !xattrs.is_empty() {
        fields.insert("xattrs".to_owned(), xattrs.into());
    }
    if kind == "f" {
        let mut hasher = Sha256::new();
        let size = io::copy(entry, &mut Hash(&mut hasher))?;
        fields.insert("size".to_owned(), size.into());
        fields.insert("sha256".to_owned(), hex(&hasher.finalize()).into());
    }
    Ok(fields)
}

struct Hash<'a>(&'a mut Sha256);

impl io::Write for Hash<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What makes `after` out of `before`: any field that differs counts.
pub(crate) fn changes(before: &Listing, after: &Listing) -> Changes {
    let paths: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let mut changes = Changes::new();
    for path in paths {
        let (op, fields) = match (before.get(path), after.get(path)) {
            (None, Some(fields)) => ("add", fields.clone()),
            (Some(_), None) => ("del", Fields::new()),
            (Some(old), Some(new)) if old != new => ("mod", new.clone()),
            _ => continue,
        };
        let mut record = fields;
        record.insert("op".to_owned(), op.into());
        changes.insert(path.clone(), record);
    }
    changes
}

/// Reads a list of records with `path`, one JSON object a line or all in one array.
pub(crate) fn records(text: &str) -> BTreeMap<String, Fields> {
    let values: Vec<Value> = if text.trim_start().starts_with('[') {
        serde_json::from_str(text).expect("an array of records")
    } else {
        text.lines().filter(|line| !line.is_empty()).map(|line| serde_json::from_str(line).expect("JSON")).collect()
    };
    let record = |value: Value| {
        let Value::Object(mut fields) = value else { panic!("a record is an object: {value}") };
        let path = fields.remove("path").and_then(|path| path.as_str().map(str::to_owned)).expect("a path");
        (path, fields)
    };
    values.into_iter().map(record).collect()
}

#[test]
fn an_archive_is_listed_as_the_corpus_writes_it() {
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_pax_extensions([("SCHILY.xattr.user.a", b"b".as_slice()), ("mtime", b"7.5")]).expect("memory");
    let add = |archive: &mut tar::Builder<Vec<u8>>, kind, path: &str, link: &str, body: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(0o4755);
        header.set_uid(11);
        header.set_gid(22);
        header.set_mtime(5);
        header.set_size(body.len() as u64);
        if link.is_empty() {
            archive.append_data(&mut header, path, body).expect("memory");
        } else {
            archive.append_link(&mut header, path, link).expect("memory");
        }
    };
    add(&mut archive, tar::EntryType::Regular, "d/f", "", b"x");
    add(&mut archive, tar::EntryType::Directory, "d/", "", b"");
    add(&mut archive, tar::EntryType::Link, "d/h", "d/f", b"");
    add(&mut archive, tar::EntryType::Symlink, "d/.l", "../f", b"");
    let bytes = archive.into_inner().expect("memory");
    let listing = list(bytes.as_slice()).expect("an archive");
    let expected = records(
        r#"{"path":"/d","type":"d","mode":"4755","uid":11,"gid":22,"mtime":5}
           {"path":"/d/f","type":"f","mode":"4755","uid":11,"gid":22,"size":1,"mtime":7,"xattrs":{"user.a":"62"},
            "sha256":"2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"}
           {"path":"/d/h","type":"h","mode":"4755","uid":11,"gid":22,"link":"d/f","mtime":5}
           {"path":"/d/.l","type":"l","mode":"4755","uid":11,"gid":22,"link":"../f","mtime":5}"#
            .replace(",\n            ", ",")
            .as_str(),
    );
    assert_eq!(listing, expected);
    let mut after = listing.clone();
    after.remove("/d/h");
    after.insert("/new".to_owned(), Fields::new());
    after.get_mut("/d").expect("listed").insert("mtime".to_owned(), 6.into());
    let ops: Vec<(String, Value)> =
        changes(&listing, &after).into_iter().map(|(path, fields)| (path, fields["op"].clone())).collect();
    assert_eq!(ops, [("/d".to_owned(), "mod".into()), ("/d/h".into(), "del".into()), ("/new".into(), "add".into())]);
}
