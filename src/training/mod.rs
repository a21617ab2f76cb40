//! What a training run counted: the archives of `recipes/profiles/`, read to say what is in them and what changed.
//!
//! ```text
//! archive  <name>.tar.xz: `compiler`, `level`, and one .gcda file for each object      -> Counts
//! gcda     a .gcda file: functions by number, their shape and their counters  -> Vec<Function>
//! compare  two sets of counts                                                 -> Difference
//! ```
//!
//! Only the compiler acts on counts; this reads them for people. What always holds: nothing of an archive is written
//! anywhere, and an archive that is damaged, endless or not one is refused within stated bounds of time and memory.

mod archive;
mod compare;
mod error;
mod gcda;

pub use archive::{Counts, Totals};
pub use compare::{Difference, Shift};
pub use error::TrainingError;
pub use gcda::{Function, functions};
