//! The house keeps its shape: imports go down only, and rooms stay small.

use std::fs;
use std::path::{Path, PathBuf};

/// Floors, highest first; modules of one floor may not import each other.
const FLOORS: [&[&str]; 9] = [
    &["cli"],
    &["release"],
    &["build", "publish", "notify", "summary", "scan", "verify"],
    &["engine", "collect"],
    &["solver", "image", "buildkit"],
    &["source", "snapshot", "export", "file", "cache", "attest", "sign"],
    &["recipe", "dockerfile", "rootfs", "layer", "policy", "registry", "sandbox", "forge", "dist"],
    &["llb", "pattern", "store", "http", "grpc", "progress", "ownership", "cgroup"],
    &["oci", "sys", "training"],
];

const LINES: usize = 500;

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("readable directory").flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            found.push(path);
        }
    }
}

fn all(dir: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join(dir), &mut found);
    found.sort();
    assert!(!found.is_empty(), "no sources under {dir}");
    found
}

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

fn violations(module: &str, text: &str) -> Vec<String> {
    let from = floor(module).expect("a module of src/ has a floor");
    let mut wrong = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        for (at, _) in code.match_indices("crate::") {
            let target: String = code[at + 7..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if target == module {
                continue;
            }
            if floor(&target).is_none_or(|to| to <= from) {
                wrong.push(format!("line {}: {module} (floor {}) uses {target}", number + 1, 8 - from));
            }
        }
    }
    wrong
}

#[test]
fn imports_go_down_the_floors_only() {
    let mut wrong = Vec::new();
    for path in all("src") {
        let relative = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).expect("under src");
        let Some(module) = relative.parent().and_then(|dir| dir.iter().next()) else { continue };
        let module = module.to_str().expect("ASCII module names");
        let text = fs::read_to_string(&path).expect("readable source");
        wrong.extend(violations(module, &text).into_iter().map(|v| format!("{}: {v}", relative.display())));
    }
    assert!(wrong.is_empty(), "imports must go down:\n{}", wrong.join("\n"));
}

#[test]
fn an_upward_or_sideways_import_is_noticed() {
    assert_eq!(violations("store", "use crate::solver::Solver;").len(), 1);
    assert_eq!(violations("store", "use crate::llb::Graph;").len(), 1);
    assert!(violations("store", "use crate::oci::Digest; use crate::store::Blob; // crate::cli").is_empty());
}

#[test]
fn rooms_stay_small() {
    let long: Vec<String> = ["src", "tests"]
        .into_iter()
        .flat_map(all)
        .filter(|path| !path.ends_with("llb/pb.rs"))
        .filter_map(|path| {
            let lines = fs::read_to_string(&path).expect("readable source").lines().count();
            (lines > LINES).then(|| format!("{}: {lines} lines", path.display()))
        })
        .collect();
    assert!(long.is_empty(), "longer than {LINES} lines:\n{}", long.join("\n"));
}

#[test]
fn mod_files_hold_header_and_reexports_only() {
    for path in all("src").into_iter().filter(|path| path.ends_with("mod.rs")) {
        let text = fs::read_to_string(&path).expect("readable source");
        assert!(text.starts_with("//!"), "{} has no header", path.display());
        for word in ["fn ", "struct ", "enum ", "impl "] {
            let found = text.lines().any(|line| line.trim_start_matches("pub ").starts_with(word));
            assert!(!found, "{} holds logic (`{word}`)", path.display());
        }
    }
}
