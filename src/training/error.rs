//! Why an archive of counts cannot be read.

use std::io;

/// What is wrong with an archive of counts.
#[derive(Debug, thiserror::Error)]
pub enum TrainingError {
    /// It cannot be read or decompressed.
    #[error("the archive of counts cannot be read")]
    Io(#[from] io::Error),
    /// It is larger than any training makes.
    #[error("the archive of counts unpacks to more than {limit} bytes")]
    TooLarge {
        /// The bound in bytes.
        limit: u64,
    },
    /// A member is not what belongs there.
    #[error("`{name}` in the archive of counts {why}")]
    Member {
        /// Name of the member.
        name: String,
        /// What is wrong, after its name.
        why: &'static str,
    },
    /// There is nothing in it.
    #[error("the archive of counts has no .gcda file")]
    Empty,
}
