//! Arguments, environment, terminal and exit codes: the only place that prints, reads the environment and exits.
//!
//! Human text goes to stderr, results to stdout. Exit codes: 0 done, 1 the build failed, 2 the input is wrong,
//! 3 this machine cannot, 70 a bug of ours.

mod args;
mod attest;
mod cache;
mod caches;
mod command;
mod describe;
mod dockerfile;
pub mod doctor;
mod engine;
mod expire;
mod failure;
mod forge;
mod grant;
mod image;
mod image_given;
mod image_show;
mod limit;
mod notify;
mod output;
mod pins;
mod previous;
mod profile;
pub mod progress;
mod proof;
mod publish;
mod rebuild;
mod recipe_image;
mod release;
pub mod report;
mod scan;
mod session;
mod sign;
mod signals;
mod solve;
mod suite;
pub mod table;
mod tag;
mod trials;
mod verify;
mod way_out;

pub use command::main;
