//! A graph is built to the same layers with many ids and with one, by programs of x86-64 and of i386.

use std::fs::{self, File};
use std::io::{BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use dockless::llb::{Edge, Graph, GraphBuilder, op, pb};
use dockless::oci::Arch;
use dockless::source::read_rootfs;
use serde_json::Value;

use crate::support::{self, skip};

/// Root filesystems: Debian without apt and dpkg, and one whose programs are those of i386.
const BASE: &str = "minbase-x86_64";
const I386: &str = "bookworm-x86";

/// What file capabilities and devices take, with coreutils and perl: `cap_net_raw+ep` as `setcap(8)` sets it.
const NODES: &str = r#"
mkdir -p /srv/n; cd /srv/n
cat > /tmp/setcap <<'END'
use Config;
my $value = pack("V5", 0x02000001, 1 << 13, 0, 0, 0);
my ($name, $number) = ("security.capability", $Config{ptrsize} == 8 ? 188 : 226);
for my $path (@ARGV) { syscall($number, $path, $name, $value, length $value, 0) and die "$path: $!" }
END
cp /bin/true ping; chown 0:8 ping; chmod 750 ping; perl /tmp/setcap ping; cp -p --preserve=xattr ping kept; cp ping plain
cp /bin/true lost; perl /tmp/setcap lost; chown 5:5 lost
mknod null c 1 3; mknod -m 640 sda b 8 257; chown 0:6 sda; mkfifo p; mv null zero; mknod null c 1 3; ln null hard
"#;

/// The rest of what owners are about, for root filesystems without `setpriv` and `useradd`.
const SMALL: &str = r#"set -eu
as_joe() { perl -e '$) = "1000 1000 2000"; $( = 1000; $< = 1000; $> = 1000; exec @ARGV or die' "$@"; }
mkdir -p /srv/shared /srv/joes; chown 1000:1000 /srv/joes; chgrp 2000 /srv/shared; chmod 2775 /srv/shared
echo x > /srv/f; chown 1:8 /srv/f; chmod 6755 /srv/f; ln -s f /srv/l; chown -h 5:6 /srv/l
as_joe sh -c 'umask 027; cd /srv/joes; id -u > f; id -g >> f; id -G >> f; mkdir d; ln -s f l; mkfifo p; echo > /srv/shared/g
    ! chown 0 f 2>/dev/null; chgrp 2000 d; test "$(stat -c %u:%g f d | xargs)" = "1000:1000 1000:2000"'
cp /bin/true /srv/tool; chown 33:34 /srv/tool; chmod 4711 /srv/tool
perl -e '@s = stat "/srv/tool"; @l = lstat "/srv/l"; print "$s[4] $s[5] $l[4] $l[5]\n"' > /srv/seen
mkdir /srv/tar; tar -C /srv -cf - f l shared joes tool | tar -C /srv/tar -xpf -; cp -a /srv/joes /srv/copy
"#;

/// What root does: all that changes owners in a usual image.
const ROOT: &str = "set -eu
groupadd -g 2000 staffers
useradd -m -u 1000 -s /bin/sh joe
mkdir -p /srv/shared /srv/d /opt
echo x > /srv/f; chown daemon:mail /srv/f; chmod 6755 /srv/f
ln -s f /srv/l; ln /srv/f /srv/hard; mkfifo /srv/p; chown -h 5:6 /srv/l /srv/p
chgrp 2000 /srv/shared; chmod 2775 /srv/shared; echo y > /srv/shared/f; mkdir /srv/shared/d
export HOME=/home/joe; cd /home/joe; setpriv --reuid=1000 --regid=1000 --clear-groups sh -c 'umask 027; id > ~/id; mkdir ~/d; ln -s id ~/l; mkfifo ~/p; echo z > /tmp/joes'
setpriv --reuid=1000 --regid=1000 --groups=1000,2000 sh -c 'id -G > /srv/shared/groups && chgrp 2000 /tmp/joes'
install -o games -g games -m 4711 /bin/true /srv/tool
mkdir /srv/tar && tar -C /srv -cf - f l p shared tool | tar -C /srv/tar -xpf -
cp -a /home/joe /srv/copy
chown 5:6 /srv/d; chown 0:0 /srv/d
chown -R 1000:2000 /opt
NODES
rm /srv/n/lost
find /srv /home/joe /tmp/joes -path /srv/n -prune -o -printf '%p %u:%g %m\\n' | sort > /seen
rm -f /var/log/faillog /var/log/lastlog
";

/// What joe does.
const JOE: &str = "set -eu
id -un > ~/who; mkdir -p ~/a/b; echo > ~/a/b/c; ln -s c ~/a/b/l
chmod 700 ~/a; ! chown 0 ~/who 2>/dev/null; test \"$(stat -c %U:%G ~/a/b/c ~/who | sort -u)\" = joe:joe
";

fn exec(script: &str, user: &str) -> pb::op::Op {
    pb::op::Op::Exec(pb::ExecOp {
        meta: Some(pb::Meta {
            args: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
            cwd: "/".to_owned(),
            user: user.to_owned(),
            ..pb::Meta::default()
        }),
        mounts: vec![pb::Mount { output: 0, readonly: false, ..op::bind(0, "/") }],
        network: pb::NetMode::None.into(),
        ..pb::ExecOp::default()
    })
}

fn by_id(uid: u32, gid: u32) -> pb::ChownOpt {
    let id = |id| Some(pb::UserOpt { user: Some(pb::user_opt::User::ById(id)) });
    pb::ChownOpt { user: id(uid), group: id(gid) }
}

/// The root filesystem, as the first vertex of a graph.
fn base(builder: &mut GraphBuilder, name: &str, arch: Arch) -> Edge {
    let lock = read_rootfs(&Path::new(env!("CARGO_MANIFEST_DIR")).join("rootfs"), name).expect("locked").lock;
    builder.add("base", op::oci_layout(&format!("dockless/{name}"), &lock.manifest), &[], arch, &[])
}

/// What owners, capabilities and devices take, on a root filesystem of either kind.
fn small(name: &str, arch: Arch) -> Graph {
    let mut builder = GraphBuilder::new();
    let base = base(&mut builder, name, arch);
    let root = builder.add("what root does", exec(&format!("{SMALL}{NODES}"), ""), &[base], arch, &[]);
    builder.finish(root)
}

fn graph() -> Graph {
    use pb::file_action::Action::{Copy, Mkdir, Symlink};
    let mut builder = GraphBuilder::new();
    let add = |builder: &mut GraphBuilder, name, op, inputs: &[_]| builder.add(name, op, inputs, Arch::X86_64, &[]);
    let base = base(&mut builder, BASE, Arch::X86_64);
    let root = add(&mut builder, "what root does", exec(&ROOT.replace("NODES\n", NODES), ""), &[base]);
    let joe = add(&mut builder, "what joe does", exec(JOE, "joe"), &[root]);
    let action =
        |input, secondary_input, action| pb::FileAction { input, secondary_input, output: -1, action: Some(action) };
    let mkdir = pb::FileActionMkDir {
        path: "/theirs".to_owned(),
        mode: 0o755,
        owner: Some(by_id(7, 9)),
        timestamp: 0,
        ..Default::default()
    };
    let symlink = pb::FileActionSymlink {
        oldpath: "nowhere".to_owned(),
        newpath: "/theirs/link".to_owned(),
        owner: Some(by_id(8, 8)),
        timestamp: 0,
    };
    let copy = |dest: &str, owner| pb::FileActionCopy {
        src: "/home/joe".to_owned(),
        dest: dest.to_owned(),
        owner,
        mode: -1,
        dir_copy_contents: true,
        create_dest_path: true,
        timestamp: 0,
        ..Default::default()
    };
    let mut actions = vec![
        action(0, -1, Mkdir(mkdir)),
        action(2, -1, Symlink(symlink)),
        action(3, 1, Copy(copy("/theirs/kept", None))),
        action(4, 1, Copy(copy("/theirs/given", Some(by_id(33, 34))))),
    ];
    actions[3].output = 0;
    let file = pb::op::Op::File(pb::FileOp { actions });
    let last = add(&mut builder, "files", file, &[root, joe]);
    builder.finish(last)
}

/// Builds the graph; returns the digests of its layers and who owns what in them. `None` where there is no mirror.
fn build(place: &Path, name: &str, graph: &Graph, before: &[&str]) -> Option<(Vec<Value>, Vec<String>)> {
    let place = place.join(name);
    fs::create_dir(&place).expect("a directory");
    let (layout, tar, program) = (place.join("image"), place.join("tree.tar"), env!("CARGO_BIN_EXE_dockless"));
    for output in [
        format!("type=oci,dest={},rewrite-timestamp=true", layout.display()),
        format!("type=tar,dest={}", tar.display()),
    ] {
        let words: Vec<&str> = before.iter().copied().chain([program]).collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).current_dir(env!("CARGO_MANIFEST_DIR"));
        command.args(["solve", "--progress", "plain", "--epoch", "1", "--store"]).arg(place.join("store"));
        command.args(["--output", &output]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let _ = child.stdin.take().expect("piped").write_all(&graph.to_bytes());
        let output = child.wait_with_output().expect("the binary ends");
        let said = String::from_utf8_lossy(&output.stderr);
        if said.contains("could not be fetched") {
            skip("mirror", &said);
            return None;
        }
        assert!(output.status.success(), "{name}: {said}");
    }
    let read = |path: PathBuf| -> Value { serde_json::from_slice(&fs::read(path).expect("read")).expect("JSON") };
    let blob = |descriptor: &Value| {
        read(layout.join("blobs").join(descriptor["digest"].as_str().expect("a digest").replace(':', "/")))
    };
    let manifest = blob(&read(layout.join("index.json"))["manifests"][0]);
    let layers = blob(&manifest["config"])["rootfs"]["diff_ids"].as_array().expect("layers").clone();
    let mut owners = Vec::new();
    for entry in tar::Archive::new(BufReader::new(File::open(&tar).expect("a tar"))).entries().expect("entries") {
        let mut entry = entry.expect("an entry");
        let capable = match entry.pax_extensions().expect("extensions") {
            Some(extensions) => extensions.flatten().any(|one| one.key() == Ok("SCHILY.xattr.security.capability")),
            None => false,
        };
        let path = entry.path().expect("a path").display().to_string();
        let path = path.trim_start_matches("./").trim_end_matches('/');
        if ["srv", "home/joe", "theirs", "opt", "tmp/joes"].iter().any(|top| path.starts_with(top)) {
            let header = entry.header();
            let (uid, gid) = (header.uid().expect("a user"), header.gid().expect("a group"));
            let mode = header.mode().expect("a mode") & 0o7777;
            let numbers = || format!("{}:{}", number(header.device_major()), number(header.device_minor()));
            let device = match header.entry_type() {
                tar::EntryType::Char => format!(" c {}", numbers()),
                tar::EntryType::Block => format!(" b {}", numbers()),
                _ => String::new(),
            };
            let capable = if capable { " capable" } else { "" };
            owners.push(format!("{path} {uid}:{gid} {mode:o}{device}{capable}"));
        }
    }
    owners.sort();
    Some((layers, owners))
}

fn number(told: std::io::Result<Option<u32>>) -> u32 {
    told.expect("a number").expect("a device")
}

/// What [`NODES`] makes, in every layer.
const MADE: [&str; 8] = [
    "srv/n/ping 0:8 750 capable",
    "srv/n/kept 0:8 750 capable",
    "srv/n/plain 0:0 750",
    "srv/n/hard 0:0 644 c 1:3",
    // The second name of it.
    "srv/n/null 0:0 644",
    "srv/n/zero 0:0 644 c 1:3",
    "srv/n/sda 0:6 640 b 8:257",
    "srv/n/p 0:0 644",
];

/// Trees of an ordinary user hold files of ids that only a namespace can remove.
struct Place(tempfile::TempDir);

impl Drop for Place {
    fn drop(&mut self) {
        if dockless::store::remove_tree(self.0.path()).is_err() {
            let mut command = Command::new("unshare");
            command.args(["--user", "--map-root-user", "--map-auto", "rm", "-rf", "--"]).arg(self.0.path());
            let _ = command.stderr(Stdio::null()).status();
        }
    }
}

/// Gives a program one id.
const SINGLE: [&str; 3] = ["unshare", "--user", "--map-root-user"];

/// A place to build in; `None`, said aloud, where nothing can be.
fn ready() -> Option<Place> {
    let trials = support::cell::launcher().probe(Path::new("/tmp")).expect("the probe runs").trials;
    if !trials.can_run() {
        skip("userns", &format!("{trials:?}"));
        return None;
    }
    if dockless::source::host_mirrors(Path::new("/")).is_ok_and(|mirrors| mirrors.is_empty()) {
        skip("mirror", "apt's configuration on this machine names no Debian mirror");
        return None;
    }
    Some(Place(tempfile::Builder::new().prefix("owners-").tempdir().expect("a directory")))
}

#[test]
fn a_graph_of_many_owners_has_the_same_layers_with_one_id() {
    let Some(place) = ready() else { return };
    let Some((layers, owners)) = build(place.0.path(), "own", &graph(), &[]) else { return };
    for line in MADE.into_iter().chain([
        "srv/f 1:8 6755",
        "srv/hard 1:8 6755",
        "srv/l 5:6 777",
        "srv/p 5:6 644",
        "srv/d 0:0 755",
        "srv/shared 0:2000 2775",
        "srv/shared/f 0:2000 644",
        "srv/shared/d 0:2000 2755",
        "srv/shared/groups 1000:2000 644",
        "srv/tool 5:60 4711",
        "srv/tar/f 1:8 6755",
        "srv/tar/l 5:6 777",
        "srv/tar/tool 5:60 4711",
        "srv/copy/l 1000:1000 777",
        "home/joe/id 1000:1000 640",
        "home/joe/p 1000:1000 640",
        "opt 1000:2000 755",
        "tmp/joes 1000:2000 640",
        "theirs 7:9 755",
        "theirs/link 8:8 777",
        "theirs/kept/a 1000:1000 700",
        "theirs/kept/a/b/l 1000:1000 777",
        "theirs/given/a/b/l 33:34 777",
        "theirs/given/who 33:34 644",
    ]) {
        assert!(owners.iter().any(|found| found == line), "{line} is not in {owners:#?}");
    }
    let single = build(place.0.path(), "single", &graph(), &SINGLE).expect("a mirror");
    assert_eq!(single.1, owners);
    assert_eq!(single.0, layers);
}

#[test]
fn programs_of_i386_see_and_change_owners_as_those_of_x86_64_do() {
    let Some(place) = ready() else { return };
    let made = |name, arch| build(place.0.path(), name, &small(name, arch), &SINGLE).map(|built| built.1);
    let Some(native) = made(BASE, Arch::X86_64) else { return };
    for line in MADE.into_iter().chain([
        // Whoever gives a file away takes its capabilities.
        "srv/n/lost 5:5 755",
        "srv/f 1:8 6755",
        "srv/l 5:6 777",
        "srv/tool 33:34 4711",
        "srv/joes/f 1000:1000 640",
        "srv/joes/d 1000:2000 750",
        "srv/joes/p 1000:1000 640",
        "srv/shared/g 1000:2000 640",
        "srv/tar/tool 33:34 4711",
        "srv/tar/l 5:6 777",
        "srv/copy/d 1000:2000 750",
    ]) {
        assert!(native.iter().any(|found| found == line), "{line} is not in {native:#?}");
    }
    assert_eq!(made(I386, Arch::X86).expect("a mirror"), native);
}

#[test]
fn what_is_true_of_one_id_is_true_of_root_with_one_id() {
    if !rustix::process::geteuid().is_root() {
        return skip("root", "only root has to make itself a namespace of one id");
    }
    let program = std::env::current_exe().expect("this program");
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user"]).arg(program).args(["isolation_owners", "--show-output"]);
    let output = command.output().expect("unshare is there");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    for line in said.lines().filter(|line| line.starts_with("SKIPPED")) {
        println!("{line}");
    }
}
