//! Graphs solved by BuildKit's daemons.
//!
//! ```text
//! Graph ── adapt ──► Definition      the very graph; only what this daemon cannot do is written otherwise
//!                    │ Control.Solve, exporter `oci` into our own content store
//! Progress ◄─ events ┤ Control.Status: the same events as the embedded engine's
//!                    │ Session: root filesystems and sources, made when they are asked for
//! Solved ◄── result ─┘ layers in the store → a snapshot, as if it had been built here
//! ```
//!
//! What always holds: the tree is that of the layers that came, each verified; a step that fails is the same error as
//! of the embedded engine, with the end of its output and a file with all of it; when the run is to end, the call ends,
//! and with it what the daemon does for it.
//!
//! Several daemons: a graph goes to the one that builds for its platform and has the fewest graphs of ours; one that does
//! not answer, breaks or has a full disk is passed over for the next. A daemon's cache is its own, so what a graph finds
//! done after such a move is what a shared cache (`--cache-to`, `--cache-from`) has.
//!
//! A daemon that cannot send layers sends one archive of everything (exporter `tar`), which becomes the only layer.
//!
//! Why the exporter `oci` and not `local`: it tells layers apart, needs no root here, sends nothing that the store has
//! already, and `local` of a whole root filesystem can hang for ever (moby/buildkit#2950).

mod adapt;
mod attempt;
mod daemons;
mod events;
mod result;

pub use adapt::adapted;
pub use daemons::{BuildKit, Daemons};
