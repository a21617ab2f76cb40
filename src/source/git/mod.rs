//! Repositories (`source/git`): a reference becomes a commit, a commit a tree, both by the machine's `git`.
//!
//! What always holds: `git` sees no configuration but what is given to it, no hook, no prompt and no environment of the
//! user's; it speaks http, https, ssh and its own protocol, never to files unless the caller allows it, neither for
//! submodules; addresses and references that could be taken for options are refused before it runs; secrets travel in
//! the environment, which only their owner can read, not in arguments. What is checked out is what was resolved, or
//! nothing.
//!
//! ```text
//! <store>/git/<sha256 of the address>/    bare, as shallow as the server allows; written under a lock
//!                                         refs/dockless/<object> keep what was fetched
//! ```
//!
//! A checkout has a `.git` of its own that borrows the bare one's objects, so that neither an index nor submodules'
//! addresses of one commit are found by the next. Modes are as with umask 022, times are of the checkout unless
//! `git.mtime=commit`, owners are whoever we are.
//!
//! Why the program and not a library: credentials, transports, shallow clones and submodules behave as users know them,
//! and mends of `git`'s are theirs at once.

mod checkout;
mod error;
mod program;
mod repository;
mod url;

pub use checkout::checkout;
pub use error::{GitError, GitUrlError};
pub use repository::{GitAccess, Resolved, resolve};
pub use url::GitSource;
