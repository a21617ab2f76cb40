//! What an archive says costs no memory that it does not deserve: the peak of the command that loads or unpacks one.

use std::fs;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Child, Command, Output};
use std::thread;
use std::time::Duration;

use dockless::oci::{Digest, Hasher};
use dockless::store::Store;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::support::images::{Place, named, put};
use crate::support::skip;

const MIB: usize = 1 << 20;

/// What every command stays below.
const ORDINARY: usize = 60 * MIB;

/// And one that remembers as many names as it may (`Limits::memory`), which few archives of this world need.
const REMEMBERING: usize = ORDINARY + 2 * (128 * MIB);

/// Writes the entries of a tar.
struct Tar<'a>(&'a mut dyn Write);

impl Tar<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("written");
    }

    fn head(&mut self, kind: u8, name: &[u8], size: usize) {
        let mut block = [0; 512];
        block[..name.len()].copy_from_slice(name);
        block[100..108].copy_from_slice(b"0000755\0");
        block[108..124].copy_from_slice(b"0000000\x000000000\0");
        block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
        block[136..148].copy_from_slice(b"00000000001\0");
        block[148..156].copy_from_slice(b"        ");
        block[156] = kind;
        block[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.put(&block);
    }

    fn entry(&mut self, kind: u8, name: &str, content: &[u8]) {
        self.head(kind, name.as_bytes(), content.len());
        self.put(content);
        self.put(&vec![0; content.len().next_multiple_of(512) - content.len()]);
    }

    fn pax(&mut self, records: &[(&str, &[u8])]) {
        let mut content = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let length = (rest..rest + 9).find(|length| length.to_string().len() + rest == *length).expect("a length");
            content.extend_from_slice(format!("{length} {key}=").as_bytes());
            content.extend_from_slice(value);
            content.push(b'\n');
        }
        self.entry(b'x', "pax", &content);
    }
}

/// A layer, the most bytes that it may take to unpack it, and the exit code of that.
type Animal = (&'static str, fn(&mut Tar<'_>), usize, i32);

const LAYERS: &[Animal] = &[
    ("ordinary", ordinary, ORDINARY, 0),
    ("half a gigabyte of zeros", zeros, ORDINARY, 2),
    ("the largest PAX headers", headers, ORDINARY, 0),
    ("the largest maps of holes", maps, ORDINARY, 0),
    ("very many small members", members, ORDINARY, 0),
    ("as many long names of directories as there may be", directories, REMEMBERING, 2),
];

fn ordinary(tar: &mut Tar<'_>) {
    let mut number = 1_u64;
    for index in 0..1500 {
        let size = 1000 + index * 40;
        let mut next = || {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            number.to_be_bytes()[0]
        };
        let content: Vec<u8> = (0..size).map(|_| next()).collect();
        tar.entry(b'0', &format!("d{}/file-{index}", index % 50), &content);
    }
    let content: Vec<u8> = (0..10 * MIB).map(|it| (it * 31 % 251).to_le_bytes()[0]).collect();
    tar.entry(b'0', "large", &content);
}

fn zeros(tar: &mut Tar<'_>) {
    tar.head(b'0', b"zeros", 1 << 29);
    let piece = vec![0; MIB];
    (0..512).for_each(|_| tar.put(&piece));
}

fn headers(tar: &mut Tar<'_>) {
    let value = vec![b'v'; 64 << 10];
    let names: Vec<String> = (0..15).map(|index| format!("SCHILY.xattr.user.name-{index}")).collect();
    let records: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), value.as_slice())).collect();
    for index in 0..200 {
        tar.pax(&records);
        tar.entry(b'0', &format!("f{index}"), b"x");
    }
}

fn maps(tar: &mut Tar<'_>) {
    let regions = 262_144;
    let mut map = format!("{regions}\n");
    for region in 0..regions {
        map.push_str(&(region * 8192).to_string());
        map.push_str("\n1\n");
    }
    let mut content = map.into_bytes();
    content.resize(content.len().next_multiple_of(512), 0);
    content.resize(content.len() + regions, b'x');
    for index in 0..2 {
        let size = (regions * 8192).to_string();
        let name = format!("sparse-{index}");
        tar.pax(&[
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", name.as_bytes()),
            ("GNU.sparse.realsize", size.as_bytes()),
        ]);
        tar.entry(b'0', "sparse", &content);
    }
}

fn members(tar: &mut Tar<'_>) {
    for index in 0..MEMBERS {
        tar.head(b'0', format!("{}/{index}", index % 1000).as_bytes(), 0);
    }
}

/// Enough to see whether memory grows with them; a million takes a minute.
const MEMBERS: usize = 50_000;

fn directories(tar: &mut Tar<'_>) {
    let above = format!("{}/", "d".repeat(250)).repeat(15);
    for index in 0..40_000 {
        tar.entry(b'L', "././@LongLink", format!("{above}{index}\0").as_bytes());
        tar.head(b'5', b"d", 0);
    }
}

/// Puts an image of one compressed layer into the store.
fn image(store: &Store, name: &str, layer: fn(&mut Tar<'_>)) {
    struct Both<W: Write>(GzEncoder<W>, Hasher);
    impl<W: Write> Write for Both<W> {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let count = self.0.write(bytes)?;
            self.1.update(&bytes[..count]);
            Ok(count)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            self.0.flush()
        }
    }
    let writer = GzEncoder::new(BufWriter::new(store.writer().expect("a blob")), Compression::default());
    let mut both = BufWriter::with_capacity(MIB, Both(writer, Hasher::default()));
    let mut tar = Tar(&mut both);
    layer(&mut tar);
    tar.put(&[0; 1024]);
    let Both(writer, hasher) = both.into_inner().map_err(|_| "written").expect("written");
    let writer = writer.finish().expect("compressed").into_inner().map_err(|_| "written").expect("written");
    let (layer, diff_id) = (writer.commit().expect("stored"), hasher.finish());
    let config =
        format!(r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":["{diff_id}"]}}}}"#);
    let config = put(store, config.as_bytes());
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
            "config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{}","size":{}}},
            "layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"{}","size":{}}}]}}"#,
        config.digest, config.size, layer.digest, layer.size
    );
    let manifest: Digest = put(store, manifest.as_bytes()).digest;
    named(store, &manifest, name);
}

/// Runs a command to its end; returns what it says and the most memory it had, in bytes.
///
/// A child that was started by `vfork(2)` may still have the memory of its parent when `spawn` returns; what it reports
/// then is that of the whole test run. It has its own as soon as it has its own name (`execve(2)` sets that later).
fn peak(mut command: Command) -> (Output, usize) {
    let ours = name_of(&fs::read_to_string("/proc/thread-self/status").expect("the status of this thread"));
    let child: Child = command.spawn().expect("started");
    let status = format!("/proc/{}/status", child.id());
    let ended = thread::spawn(move || child.wait_with_output().expect("the binary ends"));
    let mut most = 0;
    while !ended.is_finished() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        if name_of(&text) == ours {
            continue;
        }
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix("kB")?.trim().parse().ok());
        most = line.map_or(most, |kilobytes: usize| most.max(kilobytes << 10));
        thread::sleep(Duration::from_millis(1));
    }
    (ended.join().expect("no panic"), most)
}

/// The name in a status of `proc(5)`.
fn name_of(status: &str) -> String {
    status.lines().find_map(|line| line.strip_prefix("Name:")).unwrap_or_default().trim().to_owned()
}

#[test]
fn no_archive_takes_more_memory_than_is_said() {
    for (name, layer, bound, wanted) in LAYERS {
        let (place, other) = (Place::new(), Place::new());
        image(&place.store(), "hostile:1", *layer);
        let archive = place.path("image.tar").display().to_string();
        let run = |what: &str, command: Command, bound: usize| {
            let (output, peak) = peak(command);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            report(&format!("{name}: {what}: {} MiB, {}", peak / MIB, said.lines().next().unwrap_or_default()));
            assert!(peak > 0 && peak <= bound, "{name}: {what} took {peak} bytes: {said}");
            output.status.code()
        };
        assert_eq!(run("save", place.image(&["save", "hostile:1", "-o", &archive]), ORDINARY), Some(0));
        assert_eq!(run("load", other.image(&["load", &archive]), ORDINARY), Some(0));
        let root = other.path("root");
        let code = run("unpack", other.image(&["unpack", "hostile:1", &root.display().to_string()]), *bound);
        if code == Some(3) {
            return skip("userns", "nothing can be unpacked here");
        }
        assert_eq!(code, Some(*wanted), "{name}");
        clear(&root);
    }
}

fn clear(root: &Path) {
    if root.exists() {
        dockless::store::remove_tree(root).expect("removed");
    }
}

#[expect(clippy::print_stderr, reason = "what was measured, for docs/layers.md")]
fn report(line: &str) {
    eprintln!("{line}");
}
