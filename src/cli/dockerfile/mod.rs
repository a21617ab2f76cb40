//! `dockless build DIR`: a Dockerfile, as docker's users build it.
//!
//! An argument is the place of a Dockerfile where it has a `/`, is `.` or `-`, or where `--file` is given; recipes have no
//! such names. Without `-o` and `-t` the image is kept in the store and its digest printed, as `docker build --quiet` does.
//!
//! Base images: a name that the store has is taken from there, as docker does, unless `--pull` says otherwise; all others
//! are asked of their registries. Either way the graph names them by digest.

mod args;
mod base;
mod build;
mod context;

pub(super) use args::{DockerfileArgs, EXAMPLES, place};
pub(super) use build::{build, graph};
