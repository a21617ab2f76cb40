//! What everybody starts from: a registry on loopback with one base image in it.

use std::fs;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use dockless::http::{Settings, Stop};
use dockless::llb::{GraphBuilder, op, pb};
use dockless::oci::{Arch, Digest};
use dockless::progress::Silent;
use dockless::registry::{Credentials, Layout, Platform, Registry, push};
use dockless::source::read_rootfs;
use dockless::store::Store;

const BASE: &str = "minbase-x86_64";

/// A process that ends with the bench.
pub(crate) struct Daemon(pub(crate) Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A registry with the image, and a place for everything.
pub(crate) struct Bed {
    pub(crate) place: PathBuf,
    /// `127.0.0.1:port/bench/base:1`.
    pub(crate) image: String,
    /// Bytes of the layer.
    pub(crate) compressed: f64,
    /// Bytes of the files in it.
    pub(crate) files: f64,
    _registry: Daemon,
}

impl Bed {
    /// Makes the base with dockless and gives it to a registry.
    pub(crate) fn make(place: &Path) -> Option<Self> {
        let (registry, port) = start(place)?;
        let project = Path::new(env!("CARGO_MANIFEST_DIR"));
        let manifest = read_rootfs(&project.join("rootfs"), BASE).expect("the base is locked").lock.manifest;
        let mut builder = GraphBuilder::new();
        let image = op::oci_layout(&format!("dockless/{BASE}"), &manifest);
        let edge = builder.add("base", image, &[], Arch::X86_64, &[]);
        // Another layer than our own: packed anew and compressed, as images of registries are.
        let touched = pb::FileOp {
            actions: vec![pb::FileAction {
                input: 0,
                secondary_input: -1,
                output: 0,
                action: Some(pb::file_action::Action::Mkdir(pb::FileActionMkDir {
                    path: "/bench".to_owned(),
                    mode: 0o755,
                    timestamp: 0,
                    ..pb::FileActionMkDir::default()
                })),
            }],
        };
        let edge = builder.add("touched", pb::op::Op::File(touched), &[edge], Arch::X86_64, &[]);
        let tree = place.join("tree.tar");
        let definition = builder.finish(edge).to_bytes();
        let mut command = dockless(&place.join("making"));
        command.arg("--output").arg(format!("type=tar,dest={}", tree.display()));
        assert!(feed(command, &definition).wait().expect("it ends").success(), "the base is made");
        let (layout, compressed) = layout(place, &tree);
        let store = Store::open(&place.join("pushed")).expect("a store");
        let layout = Layout::open(&layout, Stop::default()).expect("a layout");
        let imported = layout.import(None, None, &Platform::linux(Arch::X86_64), &store).expect("imported");
        let image = format!("127.0.0.1:{port}/bench/base:1");
        let reference = image.parse().expect("a reference");
        let told = (&Silent as _, Digest::of(b"bench"));
        let speaker = Registry::new(Settings::default(), Credentials::default());
        push(&speaker, &reference, &imported.manifest.digest, &store, told).expect("pushed");
        let files = fs::metadata(&tree).expect("a tar").len() as f64;
        let _ = fs::remove_file(&tree);
        Some(Self { place: place.to_owned(), image, compressed, files, _registry: registry })
    }

    /// The image, and one trivial step on it where that is asked for.
    pub(crate) fn definition(&self, step: bool) -> Vec<u8> {
        let mut builder = GraphBuilder::new();
        let mut edge = builder.add("base", op::image(&self.image), &[], Arch::X86_64, &["source.image"]);
        if step {
            let exec = pb::ExecOp {
                meta: Some(pb::Meta { args: vec!["/bin/true".to_owned()], cwd: "/".to_owned(), ..pb::Meta::default() }),
                mounts: vec![pb::Mount { dest: "/".to_owned(), ..pb::Mount::default() }],
                ..pb::ExecOp::default()
            };
            edge = builder.add("step", pb::op::Op::Exec(exec), &[edge], Arch::X86_64, &[]);
        }
        builder.finish(edge).to_bytes()
    }
}

/// Writes an image layout around a tar; returns where, and the size of the layer.
fn layout(place: &Path, tree: &Path) -> (PathBuf, f64) {
    let root = place.join("layout");
    let blobs = root.join("blobs/sha256");
    fs::create_dir_all(&blobs).expect("made");
    let put = |bytes: &[u8]| {
        let digest = Digest::of(bytes);
        fs::write(blobs.join(digest.hex()), bytes).expect("written");
        format!("\"digest\":\"{digest}\",\"size\":{}", bytes.len())
    };
    let tar = fs::read(tree).expect("a tar");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    gzip.write_all(&tar).expect("in memory");
    let gzip = gzip.finish().expect("in memory");
    let (layer, compressed) = (put(&gzip), gzip.len() as f64);
    let config = put(format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{"Env":["PATH=/usr/bin:/bin"]}},
            "rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
        Digest::of(&tar)
    )
    .as_bytes());
    let kind = "application/vnd.oci.image";
    let manifest = put(format!(
        r#"{{"schemaVersion":2,"mediaType":"{kind}.manifest.v1+json",
            "config":{{"mediaType":"{kind}.config.v1+json",{config}}},
            "layers":[{{"mediaType":"{kind}.layer.v1.tar+gzip",{layer}}}]}}"#
    )
    .as_bytes());
    let index = format!(r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{kind}.manifest.v1+json",{manifest}}}]}}"#);
    fs::write(root.join("index.json"), index).expect("written");
    fs::write(root.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("written");
    (root, compressed)
}

/// Starts Debian's registry; says aloud where it is not there.
fn start(place: &Path) -> Option<(Daemon, u16)> {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("loopback").port();
    let config = format!(
        "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
         http: {{addr: '127.0.0.1:{port}'}}\n",
        place.join("registry").display()
    );
    let file = place.join("registry.yml");
    fs::write(&file, config).expect("written");
    let mut command = Command::new("docker-registry");
    let Ok(child) = command.arg("serve").arg(&file).stdout(Stdio::null()).stderr(Stdio::null()).spawn() else {
        skip("docker-registry", "not on PATH, and without it nothing can be measured");
        return None;
    };
    let daemon = Daemon(child);
    for _ in 0..400 {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Some((daemon, port));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("the registry does not answer");
}

/// `dockless solve` over a store.
pub(crate) fn dockless(store: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dockless"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(["solve", "--progress", "quiet", "--store"]).arg(store);
    command
}

/// Starts a command with this on its standard input.
pub(crate) fn feed(mut command: Command, input: &[u8]) -> Child {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs");
    child.stdin.take().expect("piped").write_all(input).expect("it reads");
    child
}

/// Says aloud that a tool is left out.
pub(crate) fn skip(tool: &str, why: &str) {
    println!("SKIPPED ({tool}): {why}");
}
