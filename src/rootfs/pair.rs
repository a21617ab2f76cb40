//! A list and its lock, together.

use super::list::List;
use super::lock::Lock;

/// A root filesystem: its name, what people wrote and what was resolved from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rootfs {
    /// Its name, which is that of its files without their endings, e.g. `bookworm-x86_64`.
    pub name: String,
    /// `<name>.toml`.
    pub list: List,
    /// `<name>.lock`.
    pub lock: Lock,
}
