//! What the machine did not allow, written beside the file that stands for it, so that packing gives it back.
//!
//! A user namespace makes no device nodes, has no users but those mapped into it, and some file systems take no file
//! capabilities. Extended attributes keep what was meant:
//!
//! ```text
//! user.dockless.node        `c 1 3`, `b 8 0` or `p`: the empty file is this device or FIFO
//! user.dockless.owner       `1000 100`: user and group of the file or directory
//! user.dockless.capability  value of security.capability
//! security.capability       of a link, FIFO, device or socket: user, group and two words that say so (`special`)
//! ```
//!
//! Whoever unpacks, copies or runs writes them; `layer` reads them, so that digests and archives are those of a machine
//! that allowed everything. They are never content: no archive brings them and none carries them.
//!
//! Why capabilities for owners: attributes of users exist on files and directories only (`xattr(7)`), `trusted.` and
//! other `security.` ones want privileges over the whole machine. File capabilities can be set by root of a user
//! namespace on everything that it owns, travel with every move and copy of overlayfs, and mean nothing on what is
//! never executed. A list beside the tree would have to follow each rename.

mod record;
mod special;

pub use record::{
    Records, Special, is_owner_record, is_record, node, owner, owner_of, record_capability, record_node, record_owner,
    record_owner_of,
};
pub use special::{SECURITY_CAPABILITY, held};
