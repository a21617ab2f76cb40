//! What we build: recipes, the locks of their sources, and their lowering to LLB. Pure: nothing here reads a file.
//!
//! ```text
//! recipes/<package>.toml      how one package is built           -> Recipe
//! recipes/locks/<set>.lock    every source by sha256 and origins -> SourceLock
//! recipes/profiles/<…>.toml   what a training run counted        -> TrainedProfile
//! recipes/release.toml        the matrix, and what tags mean     -> Matrix, Channels
//! ```
//!
//! What always holds: a parsed recipe names only plain file names of `scripts/`; a lowered graph names every byte that
//! enters it by digest, so equal recipes, locks and requests give equal bytes on every machine. Where a source comes
//! from (its origins) is not part of the graph: a moved mirror rebuilds nothing.
//!
//! Each package becomes one exec vertex. Its root is the locked root filesystem, read-only; sources, scripts and the
//! merged outputs of what it needs are read-only mounts; `/out` starts empty and is its output. Why not one container
//! that grows layer by layer: then every package would depend on every earlier one, and nothing could run in parallel.

mod bundled;
mod channel;
mod disk;
mod image;
mod lock;
mod lower;
mod matrix;
mod parse;
mod profile;
mod select;
mod version;

pub use bundled::Bundled;
pub use channel::{Channel, Channels, NextTag};
pub use disk::Disk;
pub use image::RecipeImage;
pub use lock::{LockedSource, SourceLock};
pub use lower::{BaseRoot, JOBSERVER, Lowered, PROFILES, Recipes, Request, TIMEOUT};
pub use matrix::Matrix;
pub use parse::{Addition, Recipe};
pub use profile::{Profile, Trained, TrainedProfile};
pub use select::Choice;
pub use version::Version;

mod error;
pub use error::{Picture, RecipeError};
