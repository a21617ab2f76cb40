//! A root filesystem can be an image of a registry: named by tag and locked, or named by digest.

use std::fs;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use dockless::http::Settings;
use dockless::llb::{GraphBuilder, op, pb};
use dockless::oci::{Arch, Digest};
use dockless::progress::{Progress, Silent};
use dockless::registry::{Credentials, Registry, push};
use dockless::store::Store;
use tempfile::TempDir;

use crate::registries::{index, put};
use crate::support::skip;

const TOLD: (&dyn Progress, Digest) = (&Silent, Digest::from_bytes([0; 32]));

const RECIPE: &str = "name = 'hello'\nsummary = 'says where it was built'\nlicense = 'MIT'\nscript = 'hello.sh'\n\
                      rootfs = 'base'\n";
const SCRIPT: &str = "cat /etc/machine > /out/machine\necho $DOCKLESS_ARCH > /out/arch\n";
const MATRIX: &str = "versions = ['1']\narchitectures = ['x86_64']\nsupported = ['1']\n\
                      name = 'r-{version}-{arch}'\nepoch = 1\n";

/// Debian's registry on a port of loopback, a project that builds in an image of it, and a store.
pub(crate) struct Bench {
    pub(crate) place: TempDir,
    registry: Option<Child>,
    port: u16,
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Bench {
    /// `None`, said aloud, where there is no registry or no step can run.
    pub(crate) fn new() -> Option<Self> {
        let place = TempDir::new().expect("a place");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("loopback").port();
        let mut bench = Self { place, registry: None, port };
        let trials = crate::support::cell::launcher().probe(bench.place.path()).expect("the probe runs").trials;
        if !trials.can_run() {
            skip("userns", &format!("{trials:?}"));
            return None;
        }
        for (file, text) in [
            ("recipes/hello.toml", RECIPE),
            ("recipes/release.toml", MATRIX),
            ("recipes/locks/debian.lock", ""),
            ("recipes/locks/upstream.lock", ""),
            ("scripts/hello.sh", SCRIPT),
        ] {
            bench.write(file, text);
        }
        bench.start().then_some(bench)
    }

    fn start(&mut self) -> bool {
        let data = self.place.path().join("registry");
        let config = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http: {{addr: '127.0.0.1:{}'}}\n",
            data.display(),
            self.port
        );
        let file = self.place.path().join("registry.yml");
        fs::write(&file, config).expect("written");
        let mut command = Command::new("docker-registry");
        let Ok(child) = command.arg("serve").arg(&file).stdout(Stdio::null()).stderr(Stdio::null()).spawn() else {
            skip("docker-registry", "the program is not on this machine");
            return false;
        };
        self.registry = Some(child);
        for _ in 0..400 {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("the registry does not answer");
    }

    fn stop(&mut self) {
        if let Some(mut child) = self.registry.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn project(&self) -> PathBuf {
        self.place.path().join("project")
    }

    pub(crate) fn write(&self, file: &str, text: &str) {
        let path = self.project().join(file);
        fs::create_dir_all(path.parent().expect("below")).expect("made");
        fs::write(path, text).expect("written");
    }

    pub(crate) fn name(&self, rest: &str) -> String {
        format!("127.0.0.1:{}/some/base{rest}", self.port)
    }

    /// Gives an index of images for these architectures to the registry; returns the index's digest and theirs.
    pub(crate) fn push(&self, tag: &str, architectures: &[&str], word: &str) -> (Digest, Vec<Digest>) {
        let store = Store::open(&self.place.path().join("pushed")).expect("a store");
        let images: Vec<(&str, Digest)> =
            architectures.iter().map(|arch| (*arch, image(&store, arch, &format!("{word} {arch}")))).collect();
        let index = index(&store, &images);
        let registry = Registry::new(Settings::default(), Credentials::default());
        let reference = self.name(&format!(":{tag}")).parse().expect("a reference");
        push(&registry, &reference, &index, &store, TOLD).expect("pushed");
        (index, images.into_iter().map(|(_, digest)| digest).collect())
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dockless"));
        command.args(args).current_dir(self.project()).env("DOCKLESS_STORE", self.place.path().join("store"));
        command.env("HOME", self.place.path()).env("DOCKLESS_PROGRESS", "plain").env_remove("DOCKER_CONFIG");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("the binary runs")
    }

    /// Runs a command that must succeed; returns its lines.
    pub(crate) fn succeed(&self, args: &[&str]) -> Vec<String> {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", words(&output));
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
    }

    /// Runs a command that must be refused with these words.
    pub(crate) fn refuse(&self, args: &[&str], code: i32, wanted: &[&str]) {
        let output = self.run(args);
        let text = words(&output);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {text}");
        for word in wanted {
            assert!(text.contains(word), "no {word:?} in: {text}");
        }
    }
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn read(tree: &str, file: &str) -> String {
    fs::read_to_string(Path::new(tree).join(file)).expect("a file of the result").trim().to_owned()
}

/// An image of one compressed layer with this machine's shell in it, and `/etc/machine` that says `word`.
fn image(store: &Store, arch: &str, word: &str) -> Digest {
    let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    let mut files: Vec<PathBuf> = Vec::new();
    for program in ["sh", "cat", "mkdir", "chmod", "sleep"] {
        let path = fs::canonicalize(Path::new("/bin").join(program)).expect("a program");
        let ldd = Command::new("ldd").arg(&path).output().expect("ldd");
        let libraries = String::from_utf8_lossy(&ldd.stdout).into_owned();
        files.extend(libraries.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from));
        let name = format!("bin/{program}");
        tar.append_path_with_name(&path, name).expect("in memory");
    }
    files.sort();
    files.dedup();
    for path in files {
        let bytes = fs::read(&path).expect("a library");
        append(&mut tar, path.strip_prefix("/").expect("absolute"), &bytes, 0o755);
    }
    append(&mut tar, Path::new("etc/machine"), word.as_bytes(), 0o644);
    let gzip = tar.into_inner().and_then(flate2::write::GzEncoder::finish).expect("in memory");
    let mut plain = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(gzip.as_slice()), &mut plain).expect("our own");
    let layer = put(store, &gzip);
    let config = format!(
        r#"{{"architecture":"{arch}","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
        Digest::of(&plain)
    );
    let config = put(store, config.as_bytes());
    let kind = "application/vnd.oci.image";
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{kind}.manifest.v1+json",
            "config":{{"mediaType":"{kind}.config.v1+json","digest":"{}","size":{}}},
            "layers":[{{"mediaType":"{kind}.layer.v1.tar+gzip","digest":"{}","size":{}}}]}}"#,
        config.digest, config.size, layer.digest, layer.size
    );
    put(store, manifest.as_bytes()).digest
}

fn append<W: std::io::Write>(tar: &mut tar::Builder<W>, name: &Path, bytes: &[u8], mode: u32) {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(mode);
    tar.append_data(&mut header, name, bytes).expect("in memory");
}

#[test]
fn a_tag_is_locked_once_and_means_the_same_from_then_on() {
    let Some(mut bench) = Bench::new() else { return };
    let (index, manifests) = bench.push("1", &["amd64", "386"], "old");
    bench.write("rootfs/base.toml", &format!("image = '{}'\n", bench.name(":1")));
    bench.refuse(&["build", "hello"], 2, &["`hello`", "`rootfs/base`, which has no lock", "lock --update rootfs/base"]);
    bench.refuse(&["lock"], 2, &["has no lock", "lock --update rootfs/base"]);

    let said = bench.succeed(&["lock", "--update", "rootfs/base"]);
    assert_eq!(said.len(), 2, "one line a platform: {said:?}");
    let lock = fs::read_to_string(bench.project().join("rootfs/base.lock")).expect("a lock");
    for digest in manifests.iter().chain([&index]) {
        assert!(lock.contains(&digest.to_string()), "no {digest} in: {lock}");
    }
    let graph = bench.succeed(&["graph", "hello", "--arch", "x86", "--format", "json"]).join("\n");
    assert!(graph.contains(&format!("docker-image://{}@{}", bench.name(":1"), manifests[1])), "{graph}");

    // The tag moves; what is built does not.
    bench.push("1", &["amd64", "386"], "new");
    let trees = bench.succeed(&["build", "hello", "--arch", "x86_64,x86"]);
    assert_eq!([read(&trees[0], "machine"), read(&trees[1], "machine")], ["old amd64", "old 386"]);
    assert_eq!([read(&trees[0], "arch"), read(&trees[1], "arch")], ["x86_64", "x86"]);
    bench.succeed(&["lock", "--check"]);

    // With everything here, no registry is asked: neither by a finished build nor by one that runs again.
    bench.stop();
    assert_eq!(bench.succeed(&["build", "hello", "--arch", "x86_64,x86"]), trees);
    bench.succeed(&["build", "hello", "--no-cache"]);
    bench.succeed(&["build", "hello", "--offline"]);
    bench.succeed(&["lock", "--check", "--offline"]);
    bench.refuse(&["lock", "--update", "rootfs/base", "--offline"], 2, &["--offline"]);
    assert_eq!(fs::read_to_string(bench.project().join("rootfs/base.lock")).expect("a lock"), lock, "untouched");

    assert!(bench.start());
    bench.succeed(&["lock", "--update", "rootfs/base"]);
    let tree = bench.succeed(&["build", "hello"]);
    assert_eq!(read(&tree[0], "machine"), "new amd64");
}

#[test]
fn a_digest_needs_no_lock_and_fetch_brings_all_of_it() {
    let Some(mut bench) = Bench::new() else { return };
    let (index, manifests) = bench.push("1", &["amd64", "386"], "pinned");
    bench.write("rootfs/base.toml", &format!("image = '{}@{index}'\n", bench.name(":1")));
    bench.refuse(&["build", "hello", "--offline"], 2, &["--offline", "some/base"]);
    let said = bench.succeed(&["fetch", "hello", "--arch", "x86_64,x86"]);
    assert_eq!(said[0], "x86_64: 0 sources, 1 root filesystems");
    bench.stop();
    let trees = bench.succeed(&["build", "hello", "--arch", "x86_64,x86", "--offline"]);
    assert_eq!([read(&trees[0], "machine"), read(&trees[1], "machine")], ["pinned amd64", "pinned 386"]);
    // A manifest says no less than the index above it.
    bench.write("rootfs/base.toml", &format!("image = '{}@{}'\n", bench.name(""), manifests[0]));
    assert_eq!(bench.succeed(&["build", "hello", "--offline"]), trees[..1], "the same content, so nothing runs");
}

#[test]
fn a_file_for_one_architecture_goes_before_the_one_for_all() {
    let Some(bench) = Bench::new() else { return };
    let (all, _) = bench.push("all", &["amd64", "386"], "all");
    let (special, _) = bench.push("special", &["386"], "special");
    bench.write("rootfs/base.toml", &format!("image = '{}@{all}'\n", bench.name("")));
    bench.write("rootfs/base-x86.toml", &format!("image = '{}@{special}'\n", bench.name("")));
    let trees = bench.succeed(&["build", "hello", "--arch", "x86_64,x86"]);
    assert_eq!([read(&trees[0], "machine"), read(&trees[1], "machine")], ["all amd64", "special 386"]);
}

#[test]
fn what_is_not_to_be_had_is_refused_with_the_way_out() {
    let Some(bench) = Bench::new() else { return };
    let nobody = Digest::of(b"nobody has this");
    bench.write("rootfs/base.toml", &format!("image = '{}@{nobody}'\n", bench.name("")));
    bench.refuse(&["build", "hello"], 2, &[&nobody.to_string(), "127.0.0.1", "some/base", "404"]);
    bench.refuse(&["fetch", "hello"], 2, &[&nobody.to_string(), "404"]);

    // Only one of two: the other has a way out of its own.
    bench.push("one", &["amd64"], "one");
    bench.write("rootfs/base.toml", &format!("image = '{}'\n", bench.name(":one")));
    bench.succeed(&["lock", "--update", "rootfs/base"]);
    bench.refuse(&["build", "hello", "--arch", "x86"], 2, &["no linux/386", ":one", "rootfs/base-x86.toml"]);
    bench.succeed(&["build", "hello"]);
    bench.push("none", &["arm64"], "none");
    bench.write("rootfs/base.toml", &format!("image = '{}'\n", bench.name(":none")));
    bench.refuse(&["build", "hello"], 2, &["does not belong", ":one", ":none", "lock --update rootfs/base"]);
    bench.refuse(&["lock", "--update", "rootfs/base"], 2, &["linux/arm64"]);
    bench.refuse(&["lock", "--update", "rootfs/nosuch"], 3, &["nosuch.toml"]);

    bench.write("rootfs/base.toml", "image = 'debian'\npackages = ['gcc']\n");
    let shown = ["`packages` beside `image`", "base.toml:2:1", "remove one of the two"];
    bench.refuse(&["build", "hello"], 2, &shown);
    bench.refuse(&["lock", "--update", "base"], 2, &shown);
    bench.write("rootfs/base.toml", "image = 'Not A Reference'\n");
    bench.refuse(&["graph", "hello"], 2, &["not an image reference", "base.toml:1:9"]);
}

#[test]
fn a_foreign_graph_starts_from_an_image_by_tag() {
    let Some(bench) = Bench::new() else { return };
    bench.push("1", &["amd64"], "from");
    let mut builder = GraphBuilder::new();
    let base = builder.add("FROM", op::image(&bench.name(":1")), &[], Arch::X86_64, &["source.image"]);
    let exec = pb::ExecOp {
        meta: Some(pb::Meta {
            args: ["/bin/sh", "-c", "cat /etc/machine > /said"].map(str::to_owned).to_vec(),
            cwd: "/".to_owned(),
            ..pb::Meta::default()
        }),
        mounts: vec![pb::Mount { dest: "/".to_owned(), ..pb::Mount::default() }],
        ..pb::ExecOp::default()
    };
    let said = builder.add("RUN", pb::op::Op::Exec(exec), &[base], Arch::X86_64, &[]);
    let dest = bench.place.path().join("out");
    let mut child =
        bench.command(&["solve", "-o", &format!("type=dir,dest={}", dest.display())]).spawn().expect("runs");
    let bytes = builder.finish(said).to_bytes();
    child.stdin.take().expect("piped").write_all(&bytes).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", words(&output));
    assert_eq!(fs::read_to_string(dest.join("said")).expect("a file"), "from amd64");
    assert!(dest.join("bin/sh").exists(), "the image and what the step made of it");
}
