//! Small real images, made without any tool, and the binary that handles them.

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use dockless::image::{Name, find, tag};
use dockless::layer::tree_digest;
use dockless::oci::Digest;
use dockless::store::{Store, Stored};
use tar::{EntryType, Header};
use tempfile::TempDir;

use super::skip;

/// A place with a store.
pub(crate) struct Place {
    pub(crate) directory: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { directory: TempDir::new().expect("a place") }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn store(&self) -> Store {
        Store::open(&self.path("store")).expect("a store")
    }

    /// `dockless image …` on this store, here.
    pub(crate) fn image<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = self.dockless();
        command.arg("image").args(arguments);
        command
    }

    pub(crate) fn dockless(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dockless"));
        command.current_dir(self.directory.path()).env("DOCKLESS_STORE", self.path("store"));
        command.env("DOCKLESS_PROGRESS", "plain").env("DOCKLESS_PROJECT", self.directory.path());
        command.env("DOCKER_CONFIG", self.directory.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs it, and returns what it prints.
    pub(crate) fn done(&self, arguments: &[&str]) -> String {
        printed(&self.image(arguments).output().expect("the binary ends"))
    }

    /// Runs it in vain; returns the exit code and what it says.
    pub(crate) fn failed(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = self.image(arguments).output().expect("the binary ends");
        assert!(!output.status.success(), "{arguments:?}: {output:?}");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// The digest of an image's tree, as we unpack it; `None` where the machine has no user namespaces.
    pub(crate) fn tree(&self, reference: &str) -> Option<Digest> {
        let to = self.directory.path().join(format!("tree-{}", Digest::of(reference.as_bytes()).short()));
        let output = self.image(&["unpack", reference, &to.display().to_string()]).output().expect("the binary ends");
        if output.status.code() == Some(3) {
            skip("userns", &String::from_utf8_lossy(&output.stderr));
            return None;
        }
        assert!(output.status.success(), "{reference}: {output:?}");
        let digest = tree_digest(&to).expect("a tree");
        fs::remove_dir_all(&to).expect("removed");
        Some(digest)
    }

    /// Names of all blobs, and of everything in the making.
    pub(crate) fn blobs(&self) -> Vec<String> {
        let names = |room: &str| {
            let entries = fs::read_dir(self.path("store").join(room)).into_iter().flatten().flatten();
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect::<Vec<_>>()
        };
        let mut all = names("blobs/sha256");
        all.extend(names("tmp"));
        all.sort();
        all
    }
}

/// Requires success.
pub(crate) fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).expect("text").trim().to_owned()
}

/// A tar of `(kind, name, link, content)`.
pub(crate) fn archive(entries: &[(EntryType, &str, &str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (kind, name, link, content) in entries {
        let mut header = Header::new_ustar();
        let field = header.as_old_mut();
        field.name[..name.len()].copy_from_slice(name.as_bytes());
        field.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(*kind);
        header.set_mode(if *kind == EntryType::Directory { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1);
        header.set_size(content.len() as u64);
        header.set_cksum();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

pub(crate) fn put(store: &Store, bytes: &[u8]) -> Stored {
    let mut writer = store.writer().expect("a blob");
    writer.write_all(bytes).expect("written");
    writer.commit().expect("stored")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("compressed");
    encoder.finish().expect("compressed")
}

/// The layers of the sample: files, a link, and a second layer that deletes, changes and adds.
pub(crate) fn layers(salt: &str) -> [Vec<u8>; 2] {
    let salted = format!("salt {salt}\n").repeat(3000);
    let file = EntryType::Regular;
    let below = archive(&[
        (EntryType::Directory, "etc/", "", b""),
        (file, "etc/passwd", "", b"root:x:0:0::/root:/bin/sh\njoe:x:0:0::/home/joe:/bin/sh\n"),
        (file, "etc/gone", "", b"gone"),
        (file, "etc/changed", "", b"one"),
        (file, "data", "", salted.as_bytes()),
        (EntryType::Symlink, "link", "etc/changed", b""),
        (EntryType::Link, "etc/hard", "etc/passwd", b""),
    ]);
    let above =
        archive(&[(file, "etc/.wh.gone", "", b""), (file, "etc/changed", "", b"two"), (file, "new", "", b"new")]);
    [below, above]
}

/// An image of those layers, the first one compressed, without a name. Returns its manifest.
pub(crate) fn sample(store: &Store, salt: &str, arch: &str) -> Digest {
    let [below, above] = layers(salt);
    let diff_ids = [Digest::of(&below), Digest::of(&above)];
    let blobs = [put(store, &gzip(&below)), put(store, &above)];
    let config = format!(
        r#"{{"created":"2026-01-02T03:04:05Z","architecture":"{arch}","os":"linux","config":{{"Cmd":["/bin/sh"],"Env":["SALT={salt}"]}},
            "rootfs":{{"type":"layers","diff_ids":["{}","{}"]}},
            "history":[{{"created":"2026-01-02T03:04:05Z","created_by":"a"}},{{"created":"2026-01-02T03:04:05Z","created_by":"b"}}]}}"#,
        diff_ids[0], diff_ids[1]
    );
    let config = put(store, config.as_bytes());
    let blob = |kind: &str, blob: &Stored| {
        format!(r#"{{"mediaType":"application/vnd.oci.image.{kind}","digest":"{}","size":{}}}"#, blob.digest, blob.size)
    };
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{},"layers":[{},{}]}}"#,
        blob("config.v1+json", &config),
        blob("layer.v1.tar+gzip", &blobs[0]),
        blob("layer.v1.tar", &blobs[1]),
    );
    put(store, manifest.as_bytes()).digest
}

/// An artifact that is attached to an image.
pub(crate) fn attachment(store: &Store, subject: &Digest) -> Digest {
    let (empty, text) = (put(store, b"{}"), put(store, format!("about {subject}").as_bytes()));
    let size = store.contains(subject).expect("a manifest");
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"text/plain",
            "config":{{"mediaType":"application/vnd.oci.empty.v1+json","digest":"{}","size":2}},
            "layers":[{{"mediaType":"text/plain","digest":"{}","size":{}}}],
            "subject":{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{subject}","size":{size}}}}}"#,
        empty.digest, text.digest, text.size
    );
    put(store, manifest.as_bytes()).digest
}

pub(crate) fn named(store: &Store, digest: &Digest, name: &str) {
    let name: Name = name.parse().expect("a name");
    tag(store, &name, &find(store, &digest.to_string()).expect("a manifest")).expect("named");
}

/// Runs another tool; `None`, said aloud, where it is not on this machine.
pub(crate) fn tool(program: &str, arguments: &[&str], directory: &Path) -> Option<Output> {
    let run = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .env("HOME", directory)
        .env("XDG_RUNTIME_DIR", directory)
        .env("TMPDIR", directory)
        .stdin(Stdio::null())
        .output();
    let_go(directory);
    match run {
        Ok(output) => Some(output),
        Err(error) => {
            skip(program, &error.to_string());
            None
        }
    }
}

/// Ends what podman and buildah leave running for an ordinary user, to keep their user namespace.
fn let_go(directory: &Path) {
    let file = directory.join("libpod/tmp/pause.pid");
    let pid = fs::read_to_string(&file).ok().and_then(|pid| pid.trim().parse().ok());
    if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        let _ = fs::remove_file(&file);
    }
}

/// An image with one program and a user `joe`, who is 7.
pub(crate) fn program(store: &Store, path: &str, bytes: &[u8], user: &str, command: &str) -> Digest {
    let mut layer =
        archive(&[(EntryType::Regular, "etc/passwd", "", b"root:x:0:0::/:/bin/sh\njoe:x:7:8::/:/bin/sh\n")]);
    layer.truncate(layer.len() - 1024);
    let mut rest = archive(&[(EntryType::Regular, path, "", bytes)]);
    let mut header = Header::from_byte_slice(&rest[..512]).clone();
    header.set_mode(0o755);
    header.set_cksum();
    rest[..512].copy_from_slice(header.as_bytes());
    layer.extend(rest);
    let layer = put(store, &layer);
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{"User":"{user}","Cmd":{command}}},"rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
        layer.digest
    );
    let config = put(store, config.as_bytes());
    let manifest = format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{}","size":{}}},
            "layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{}","size":{}}}]}}"#,
        config.digest, config.size, layer.digest, layer.size
    );
    put(store, manifest.as_bytes()).digest
}
