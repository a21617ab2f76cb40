//! Owners for a step that has one id only: emulated while it runs, recorded for whoever packs what it leaves.
//!
//! ```text
//! program's process              process 1                    thread of process 1, capabilities of the program
//!   install a filter with a listener
//!   ── the listener ───────────> start ─────────────────────> receive a call
//!   drop capabilities, exec      reap                           read its path, open the file without rights (`O_PATH`)
//!   chown("f", 5, 6) ─ waits ─────────────────────────────────>  chown it to ourselves, record `5 6` on it
//!                    <─ 0 ─────────────────────────────────────  answer
//! ```
//!
//! A user without subordinate ids (`subuid(5)`) has a user namespace of one id, where the kernel gives files to nobody else
//! and nobody can become another (`user_namespaces(7)`). A filter of system calls has those calls wait that would tell
//! (`seccomp_unotify(2)`), for x86-64 and i386:
//!
//! - `chown` and its relatives: done as far as the kernel can, so that modes, capabilities, overlays and errors are as always,
//!   then recorded ([`crate::ownership`]) on the file that the step sees, where `layer` finds it; given back to root, the
//!   record goes. Who is not root may only do what `chown(2)` allows.
//! - `setuid` and its relatives, `setgroups`, `getuid` and its relatives: ids that a process believes to have. `apt` becomes
//!   `_apt` and finds no way back; `su` and the user of a step are the same, begun with other ids. `execve` of a set-user-ID
//!   file gives its owner's. `PR_SET_KEEPCAPS` is followed, single capabilities are not.
//! - `open` with `O_CREAT`, `mkdir`, `symlink`, `mknod`: what another user makes is recorded as that user's, in a set-group-ID
//!   directory as that group's. The file is made with the caller's umask and handed over (`SECCOMP_IOCTL_NOTIF_ADDFD`).
//! - `stat` and its relatives say what is recorded.
//! - `mknod` of a device makes a recorded one; `security.capability` is recorded where the file system does not take it, and
//!   the records themselves are nobody's to set.
//!
//! What always holds: the thread that answers has the namespaces, root and capabilities of the program, and beside them the
//! right to look into it, so that nothing is gained by leading it astray: a path that changes between its look and its
//! act leads to what the program could have reached itself. Whoever is gone is not acted for (`SECCOMP_IOCTL_NOTIF_ID_VALID`).
//! The listener is in nobody's hands but process 1's, which no program of the step can kill or trace. Files of no other
//! owner are the kernel's business: the call goes on as if nobody had looked. Kernel ids and capabilities stay root's.
//!
//! Whose ids: children and executed programs inherit them in the same moment as everything else, also where their parent is
//! gone before they say a word. What the kernel hands on like that and we can read and write from outside is a resource
//! limit: the soft `RLIMIT_RTTIME` of a process names its ids. A process that sets it believes to be whom the step began as;
//! threads have the ids of their process.
//!
//! Where all ids are real, only the making of devices is left to emulate (`devices.rs`), also for root without a user
//! namespace, whose steps may not make real ones.
//!
//! What is not emulated: nobody is refused a file that is another's; it is the kernel's root who asks. `/proc/<pid>/status`,
//! credentials of sockets and the first `stat` of i386 (`st_uid` of 16 bits) show the kernel's ids. A socket belongs to root.
//! Owners on file systems without extended attributes, and of pipes, are remembered until the step ends. Links on the way
//! through another process's `/proc/<pid>/fd` are not followed, and what they lead to is given to nobody. A record that a copy
//! with `cp --preserve=xattr` meets is not copied. Where the kernel has no listeners (before Linux 5.0), another filter has
//! one, or it is forbidden, steps run as root with one id: `chown` fails with `EINVAL`.
//!
//! Cost: a call that is looked at takes two changes of process and some seven calls more. Measured with
//! `benches/steps.rs` on two processors, medians of nine rounds: a shell that looks at 10,000 files takes 190 ms, and 37 ms
//! without. Recipes
//! ([`Step::bare`](crate::sandbox::Step::bare)) and users with more ids have no such filter and pay nothing. Opens that create
//! nothing are told apart by the filter.
//!
//! Why not a preloaded library, as fakeroot does it: static programs, Go, and whoever clears the environment go past it. Why
//! not ptrace: each call of each program would stop twice. Why not a mount with mapped ids (`mount_setattr(2)`
//! `MOUNT_ATTR_IDMAP`): it maps ids that exist. Why not stat at the end and a list beside the tree: programs look at what they
//! have just done.

mod calls;
mod creds;
mod devices;
mod files;
mod link;
mod overseer;
mod stat;
mod view;

pub(super) use link::{Oversight, Reach, Scope};
