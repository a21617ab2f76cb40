//! Dockerfiles become graphs, as BuildKit's front end makes them (`frontend/dockerfile/dockerfile2llb`).
//!
//! ```text
//! text --lines--> statements --read--> instructions --declare, resolve--> stages --dispatch--> nodes --marshal--> graph
//!                                                            |                                    \--> image config
//!                                                  configs of base images, asked of the caller
//! ```
//!
//! What always holds: equal text, options and base images give equal graphs, operation by operation the bytes that
//! BuildKit makes (`tests/dockerfiles.rs` compares them with recorded ones); nothing is read, fetched or executed here; an
//! error says which words of which line it is about. Dockerfiles come from strangers: nothing recurses deeper than a
//! bound, words and files have a largest size, and marshalling walks the graph without the stack.
//!
//! A Dockerfile is lowered in two halves because of the build context: which of its files are needed is known only when
//! all stages were lowered, and a vertex can be marshalled only when that is known. So nodes stand in an arena first.
//!
//! Why not the crate `parse-dockerfile` (0.1.9): it keeps to the documentation, where graphs that equal BuildKit's need its
//! parser's every habit (which blanks are kept, what of a line a name is made of, what counts as JSON, where a heredoc
//! is looked for); and words would still have to be expanded here, which is the larger half.

#![expect(
    clippy::format_push_string,
    reason = "short texts for people: `write!` would have to be believed not to fail"
)]
#![expect(clippy::trivially_copy_pass_by_ref, reason = "a lexer is no number")]
#![expect(clippy::zero_sized_map_values, reason = "image configs write sets as maps to `{}`")]
#![expect(clippy::case_sensitive_file_extension_comparisons, reason = "BuildKit compares `.git` as it is")]

mod copy;
mod dispatch;
mod error;
mod expand;
mod flags;
mod git;
mod heredoc;
mod image;
mod instruction;
mod lines;
mod lower;
mod marshal;
mod mount;
mod names;
mod nodes;
mod numbers;
mod options;
mod platform;
mod ports;
mod read;
mod resolve;
mod run;
mod shape;
mod stage;
mod state;
mod words;

pub use error::{DockerfileError, Picture, ResolveError};
pub use git::is_repository;
pub use image::Image;
pub use lines::LARGEST;
pub use lower::{ContextPath, Lowered, Warning, lower, stages};
pub use options::{Context, Dockerfile, NetworkMode, Options, Resolver, Wanted, parse_platform};
