//! A list and its lock, together.

use std::path::Path;

use super::error::RootfsError;
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

impl Rootfs {
    /// Reads both texts and checks that they belong together; `directory` is where they are from, for messages.
    ///
    /// # Errors
    /// `Toml`, `Value`, `Stale`.
    pub fn parse(name: &str, directory: &Path, list: &str, lock: &str) -> Result<Self, RootfsError> {
        let list = List::parse(list, &directory.join(format!("{name}.toml")))?;
        let lock = Lock::parse(lock, &directory.join(format!("{name}.lock")))?;
        lock.check(name, &list)?;
        Ok(Self { name: name.to_owned(), list, lock })
    }
}
