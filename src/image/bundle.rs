//! An image becomes a bundle that an OCI runtime starts: `rootfs/` and `config.json` (`image-spec conversion.md`,
//! `runtime-spec config.md`).
//!
//! What the image does not say is as `runc spec` has it: namespaces of its own, no new privileges, `/proc` masked; the
//! capabilities are docker's. The network is its own and empty, as with `runc spec`; a user namespace is there where the
//! bundle is made by somebody who is not root, with exactly the ids that its files have.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::error::ImageError;
use super::tags::image;
use super::unpack::{Tree, lay};
use crate::export::NewDirectory;
use crate::http::Stop;
use crate::oci::Digest;
use crate::registry::Platform;
use crate::sandbox::{Identity, find_user};
use crate::store::Store;
use crate::sys::IdMap;

/// What docker gives a container (moby `oci/caps/defaults.go`).
const CAPABILITIES: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How a bundle is made.
#[derive(Debug, Clone, Default)]
pub struct BundleOptions {
    /// User and group ids that a user namespace of the bundle has; none for root, who needs no namespace.
    pub ids: Option<(IdMap, IdMap)>,
    /// The program has a terminal.
    pub terminal: bool,
}

/// Unpacks an image of the store as a bundle at `destination`, new or empty. Returns it with what must be told.
///
/// # Errors
/// As [`super::unpack`], and `User`.
pub fn bundle(
    store: &Store,
    digest: &Digest,
    platform: (&Platform, bool),
    what: &str,
    destination: &Path,
    (options, stop): (&BundleOptions, &Stop),
) -> Result<(Tree, Vec<String>), ImageError> {
    let (image, config) = image(store, digest, platform, what)?;
    let draft = NewDirectory::begin(destination)?;
    let root = draft.path().join("rootfs");
    fs::create_dir(&root).map_err(ImageError::io("create", &root))?;
    let single_id = options.ids.as_ref().is_some_and(|(uids, gids)| uids.is_single() || gids.is_single());
    let unpacked = lay(store, &image, what, &root, single_id, stop)?;
    let user = text(&config, "/config/User");
    let identity = {
        let place = File::open(&root).map_err(ImageError::io("open", &root))?;
        find_user(place.as_fd(), user).map_err(|source| ImageError::User {
            user: user.to_owned(),
            what: what.to_owned(),
            source,
        })?
    };
    let mut told = Vec::new();
    let document = runtime_config(&config, &identity, options, &mut told);
    let path = draft.path().join("config.json");
    let pretty = serde_json::to_string_pretty(&document).expect("JSON is representable");
    fs::write(&path, pretty + "\n").map_err(ImageError::io("write", &path))?;
    draft.publish()?;
    Ok((Tree { image, config, unpacked }, told))
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn texts(value: &Value, pointer: &str) -> Vec<String> {
    let items = value.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
    items.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Makes `config.json`.
fn runtime_config(config: &Value, who: &Identity, options: &BundleOptions, told: &mut Vec<String>) -> Value {
    let mut args = texts(config, "/config/Entrypoint");
    args.extend(texts(config, "/config/Cmd"));
    if args.is_empty() {
        told.push("the image names no program: `config.json` starts `sh`".to_owned());
        args.push("sh".to_owned());
    }
    let mut env = texts(config, "/config/Env");
    let has = |env: &[String], name: &str| env.iter().any(|variable| variable.starts_with(name));
    if !has(&env, "PATH=") {
        env.push(PATH.to_owned());
    }
    if !has(&env, "HOME=") {
        env.push(format!("HOME={}", who.home));
    }
    if options.terminal && !has(&env, "TERM=") {
        env.push("TERM=xterm".to_owned());
    }
    let cwd = match text(config, "/config/WorkingDir") {
        "" => "/".to_owned(),
        path if path.starts_with('/') => path.to_owned(),
        path => format!("/{path}"),
    };
    let mut linux = json!({
        "namespaces": namespaces(options.ids.is_some()),
        "maskedPaths": ["/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
            "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/firmware",
            "/sys/devices/virtual/powercap"],
        "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
    });
    if let Some((uids, gids)) = &options.ids {
        linux["uidMappings"] = mappings(uids);
        linux["gidMappings"] = mappings(gids);
    } else {
        linux["resources"] = json!({ "devices": [{ "allow": false, "access": "rwm" }] });
    }
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": options.terminal,
            "user": user(who, options, told),
            "args": args,
            "env": env,
            "cwd": cwd,
            "capabilities": capabilities(),
            "rlimits": [{ "type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024 }],
            "noNewPrivileges": true,
        },
        "root": { "path": "rootfs", "readonly": false },
        "hostname": "dockless",
        "mounts": mounts(options.ids.as_ref()),
        "annotations": annotations(config),
        "linux": linux,
    })
}

fn capabilities() -> Value {
    let sets = ["bounding", "effective", "permitted"];
    Value::Object(sets.into_iter().map(|set| (set.to_owned(), json!(CAPABILITIES))).collect())
}

/// The ids that exist in the bundle's namespace; where they do not, the program runs as its root, and that is told.
fn user(who: &Identity, options: &BundleOptions, told: &mut Vec<String>) -> Value {
    let exists =
        |uid: u32, gid: u32| options.ids.as_ref().is_none_or(|(uids, gids)| uids.contains(uid) && gids.contains(gid));
    if !exists(who.uid, who.gid) {
        told.push(format!("there is no user {}:{} with the ids you have: the program runs as 0:0", who.uid, who.gid));
        return json!({ "uid": 0, "gid": 0 });
    }
    let mut user = json!({ "uid": who.uid, "gid": who.gid });
    let more: Vec<u32> = who.groups.iter().flatten().copied().filter(|gid| *gid != who.gid).collect();
    if options.ids.is_some() && !more.is_empty() {
        // runc refuses them to everybody but root (opencontainers/runc `libcontainer/init_linux.go setupUser`).
        told.push(format!("the groups {more:?} are left out: only root may start a program with several"));
    } else if !more.is_empty() {
        user["additionalGids"] = json!(more);
    }
    user
}

fn namespaces(user: bool) -> Value {
    let mut kinds = vec!["pid", "network", "ipc", "uts", "mount", "cgroup"];
    if user {
        kinds.push("user");
    }
    kinds.into_iter().map(|kind| json!({ "type": kind })).collect()
}

fn mappings(map: &IdMap) -> Value {
    let ranges = map.0.iter();
    ranges.map(|range| json!({ "containerID": range.inside, "hostID": range.outside, "size": range.count })).collect()
}

/// As `runc spec` and `runc spec --rootless` have them.
fn mounts(ids: Option<&(IdMap, IdMap)>) -> Value {
    let mut pts = vec!["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"];
    // Group 5 is tty, where there is one.
    if ids.is_none_or(|(_, gids)| gids.contains(5)) {
        pts.push("gid=5");
    }
    let mount = |place: &str, kind: &str, source: &str, options: &[&str]| json!({ "destination": place, "type": kind, "source": source, "options": options });
    let quiet = ["nosuid", "noexec", "nodev"];
    let mut all = vec![
        json!({ "destination": "/proc", "type": "proc", "source": "proc" }),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount("/dev/pts", "devpts", "devpts", &pts),
        mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
        mount("/dev/mqueue", "mqueue", "mqueue", &quiet),
    ];
    if ids.is_some() {
        // The machine's own: a user namespace may mount a new one only where nothing of it is covered.
        all.push(mount("/sys", "none", "/sys", &["rbind", "nosuid", "noexec", "nodev", "ro"]));
    } else {
        all.push(mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]));
        all.push(mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]));
    }
    Value::Array(all)
}

/// What the image says of itself (`image-spec conversion.md#annotation-fields`); labels count more.
fn annotations(config: &Value) -> Value {
    let mut all = BTreeMap::new();
    for (key, pointer) in [
        ("os", "/os"),
        ("architecture", "/architecture"),
        ("variant", "/variant"),
        ("os.version", "/os.version"),
        ("author", "/author"),
        ("created", "/created"),
        ("stopSignal", "/config/StopSignal"),
    ] {
        let value = text(config, pointer);
        if !value.is_empty() {
            all.insert(format!("org.opencontainers.image.{key}"), value.to_owned());
        }
    }
    if let Some(ports) = config.pointer("/config/ExposedPorts").and_then(Value::as_object) {
        let mut ports: Vec<&str> = ports.keys().map(String::as_str).collect();
        ports.sort_unstable();
        all.insert("org.opencontainers.image.exposedPorts".to_owned(), ports.join(","));
    }
    let labels = config.pointer("/config/Labels").and_then(Value::as_object);
    for (key, value) in labels.into_iter().flatten() {
        if let Some(value) = value.as_str() {
            all.insert(key.clone(), value.to_owned());
        }
    }
    Value::Object(all.into_iter().map(|(key, value)| (key, value.into())).collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::IdRange;

    fn who(uid: u32, gid: u32, groups: &[u32]) -> Identity {
        Identity { uid, gid, groups: Some(groups.to_vec()), home: "/home/x".to_owned() }
    }

    #[test]
    fn an_image_config_becomes_a_runtime_config() {
        let config = json!({
            "os": "linux", "architecture": "386", "created": "2026-01-01T00:00:00Z",
            "config": {
                "Entrypoint": ["/bin/a"], "Cmd": ["b"], "Env": ["PATH=/bin", "X=1"], "WorkingDir": "/w",
                "ExposedPorts": {"80/tcp": {}, "53/udp": {}},
                "Labels": {"l": "v", "org.opencontainers.image.created": "label"}, "StopSignal": "SIGINT",
            },
        });
        let mut told = Vec::new();
        let made = runtime_config(&config, &who(7, 8, &[8, 9]), &BundleOptions::default(), &mut told);
        assert_eq!(made["process"]["args"], json!(["/bin/a", "b"]));
        assert_eq!(made["process"]["env"], json!(["PATH=/bin", "X=1", "HOME=/home/x"]));
        assert_eq!(made["process"]["cwd"], "/w");
        assert_eq!(made["process"]["user"], json!({"uid": 7, "gid": 8, "additionalGids": [9]}));
        assert_eq!(made["annotations"]["org.opencontainers.image.exposedPorts"], "53/udp,80/tcp");
        assert_eq!(made["annotations"]["org.opencontainers.image.created"], "label");
        assert_eq!(made["annotations"]["org.opencontainers.image.stopSignal"], "SIGINT");
        assert_eq!(made["annotations"]["l"], "v");
        assert!(told.is_empty() && made["linux"].get("uidMappings").is_none());
    }

    #[test]
    fn a_user_without_such_ids_is_told_that_the_program_runs_as_root() {
        let one = IdMap(vec![IdRange { inside: 0, outside: 1000, count: 1 }]);
        let options = BundleOptions { ids: Some((one.clone(), one)), terminal: false };
        let mut told = Vec::new();
        let made = runtime_config(&json!({}), &who(7, 8, &[8, 9]), &options, &mut told);
        assert_eq!(made["process"]["user"], json!({"uid": 0, "gid": 0}));
        assert_eq!(made["process"]["args"], json!(["sh"]));
        assert_eq!(made["linux"]["uidMappings"], json!([{"containerID": 0, "hostID": 1000, "size": 1}]));
        assert_eq!(told.len(), 2);
    }
}
