//! Solving small graphs with the real binary: a root filesystem from the host's own shell, a store, a run.

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use dockless::llb::{Edge, Graph, GraphBuilder, op, pb};
use dockless::oci::Arch;

/// A place with a store and a root filesystem; vanishes at the end.
pub(crate) struct Bench {
    place: tempfile::TempDir,
}

/// Programs that test steps may use.
const PROGRAMS: [&str; 11] = ["sh", "cat", "cp", "mkdir", "sleep", "date", "id", "ls", "chmod", "chown", "touch"];

impl Bench {
    /// Makes the place; says aloud when the machine cannot run steps and returns `None`.
    pub(crate) fn new() -> Option<Self> {
        let place = tempfile::tempdir().expect("temporary directory");
        let bench = Self { place };
        let root = bench.root();
        for directory in ["bin", "tmp", "proc", "dev", "etc"] {
            fs::create_dir_all(root.join(directory)).expect("directory");
        }
        for program in PROGRAMS {
            bench.copy_program(program);
        }
        let graph = Self::graph(&["echo ready > /out/x"]);
        let run = bench.solve(&graph, &[]);
        if run.status.code() == Some(3) {
            super::skip("userns", &String::from_utf8_lossy(&run.stderr));
            return None;
        }
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        Some(bench)
    }

    fn copy_program(&self, program: &str) {
        let find = Command::new("sh").args(["-c", &format!("command -v {program}")]).output().expect("sh");
        let path = PathBuf::from(String::from_utf8_lossy(&find.stdout).trim());
        let path = fs::canonicalize(&path).unwrap_or_else(|_| PathBuf::from("/bin").join(program));
        fs::copy(&path, self.root().join("bin").join(program)).expect("copy of a program");
        let ldd = Command::new("ldd").arg(&path).output().expect("ldd");
        for word in String::from_utf8_lossy(&ldd.stdout).split_whitespace().filter(|word| word.starts_with('/')) {
            let to = self.root().join(word.trim_start_matches('/'));
            fs::create_dir_all(to.parent().expect("a directory")).expect("directory");
            fs::copy(word, to).expect("copy of a library");
        }
    }

    /// Returns the directory with the root filesystem, which has a shell.
    pub(crate) fn root(&self) -> PathBuf {
        self.place.path().join("root")
    }

    /// Returns the store's directory.
    pub(crate) fn store(&self) -> PathBuf {
        self.place.path().join("store")
    }

    /// Returns a chain of steps: each runs its script and sees the former's output at `/in`.
    pub(crate) fn graph(scripts: &[&str]) -> Graph {
        let mut builder = GraphBuilder::new();
        let mut last = None;
        for (i, script) in scripts.iter().enumerate() {
            last = Some(Self::step(&mut builder, &format!("step {i}"), script, last.as_slice()));
        }
        builder.finish(last.expect("at least one step"))
    }

    /// Adds a step that sees `inputs` merged at `/in` and writes `/out`.
    pub(crate) fn step(builder: &mut GraphBuilder, name: &str, script: &str, inputs: &[Edge]) -> Edge {
        let root = builder.add("root", op::local("root", &[]), &[], Arch::X86_64, &[]);
        let mut edges = vec![root];
        let mut mounts = vec![op::bind(0, "/")];
        let merged = match inputs {
            [] => None,
            [one] => Some(*one),
            _ => Some(builder.add("merged", op::merge(inputs.len()), inputs, Arch::X86_64, &[])),
        };
        if let Some(edge) = merged {
            edges.push(edge);
            mounts.push(op::bind(1, "/in"));
        }
        mounts.push(op::scratch("/out", Some(0)));
        mounts.push(op::tmpfs("/tmp"));
        let exec = pb::ExecOp {
            meta: Some(pb::Meta {
                args: ["/bin/sh", "-eu", "-c", script].map(str::to_owned).to_vec(),
                env: vec!["PATH=/bin".to_owned()],
                cwd: "/".to_owned(),
                hostname: "dockless".to_owned(),
                ..pb::Meta::default()
            }),
            mounts,
            network: pb::NetMode::None.into(),
            ..pb::ExecOp::default()
        };
        builder.add(name, pb::op::Op::Exec(exec), &edges, Arch::X86_64, &[])
    }

    /// Returns the command that solves a graph from its standard input in this place.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        self.command_in(&self.store(), arguments)
    }

    /// As `command`, in another store.
    fn command_in<S: AsRef<OsStr>>(&self, store: &Path, arguments: &[S]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dockless"));
        command.args(["solve", "--store"]).arg(store);
        command.arg("--local").arg(format!("root={}", self.root().display())).args(arguments);
        command.env("DOCKLESS_PROGRESS", "plain");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Solves a graph with the binary and returns what it said.
    pub(crate) fn solve(&self, graph: &Graph, arguments: &[&str]) -> Output {
        self.solve_in(&self.store(), graph, arguments)
    }

    /// As `solve`, in another store.
    pub(crate) fn solve_in(&self, store: &Path, graph: &Graph, arguments: &[&str]) -> Output {
        let mut child = self.command_in(store, arguments).spawn().expect("the binary starts");
        // Wrong arguments are refused before anything is read: the answer says so.
        let _ = child.stdin.take().expect("piped").write_all(&graph.to_bytes());
        child.wait_with_output().expect("the binary ends")
    }

    /// Solves a graph that must succeed; returns the tree of its result and what was said.
    pub(crate) fn solved(&self, graph: &Graph) -> (PathBuf, String) {
        let run = self.solve(graph, &[]);
        let said = String::from_utf8_lossy(&run.stderr).into_owned();
        assert!(run.status.success(), "{said}");
        (PathBuf::from(String::from_utf8_lossy(&run.stdout).trim()), said)
    }
}

/// Reads a file of a result.
pub(crate) fn read(tree: &Path, name: &str) -> String {
    fs::read_to_string(tree.join(name)).expect("a file of the result")
}
