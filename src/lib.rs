//! dockless: a daemonless, rootless OCI builder.
//!
//! The house has nine floors and imports go down only (`tests/architecture.rs`):
//!
//! ```text
//! 8  cli ............ arguments, environment, terminal, exit codes
//! 7  release ........ the matrix -> dist/
//! 6  build .......... the corridor: recipe -> graph -> image -> artifact
//!    publish ........ dist/ -> forges, registries, directories; notify: who is told
//!    summary ........ notes, metrics, report; scan: what scanners say
//!    verify ......... whether a release is what it says
//! 5  engine ......... trait Engine; Embedded, BuildKit
//!    collect ........ what takes room in a store, and what may go
//! 4  solver ......... works a graph off: schedule, cache keys, jobs, ops
//!    image .......... images in and out: pull, push, load, save, unpack
//!    buildkit ....... BuildKit's daemon, as its clients see it
//! 3  source  snapshot  export  file  cache  attest  sign
//! 2  recipe  dockerfile  rootfs  layer  policy  registry  sandbox  forge  dist
//! 1  llb  pattern  store  http  grpc  progress  ownership  cgroup
//! 0  oci  sys
//! ```

pub mod attest;
pub mod build;
pub mod buildkit;
pub mod cache;
pub mod cgroup;
pub mod cli;
pub mod collect;
pub mod dist;
pub mod dockerfile;
pub mod engine;
pub mod export;
pub mod file;
pub mod forge;
pub mod grpc;
pub mod http;
pub mod image;
pub mod layer;
pub mod llb;
pub mod notify;
pub mod oci;
pub mod ownership;
pub mod pattern;
pub mod policy;
pub mod progress;
pub mod publish;
pub mod recipe;
pub mod registry;
pub mod release;
pub mod rootfs;
pub mod sandbox;
pub mod scan;
pub mod sign;
pub mod snapshot;
pub mod solver;
pub mod source;
pub mod store;
pub mod summary;
pub mod sys;
pub mod training;
pub mod verify;
