//! The kernel: namespaces, id maps, mounts, processes and what `/proc` says about this machine.
//!
//! All unsafe code of the house lives here, one operation a block, behind functions that are safe to call in any
//! order from any state. They speak the kernel's own words: a failure is the bare [`std::io::Error`] with its
//! errno, because only the caller knows which operand it was about; `sandbox` and `snapshot` wrap it.
//!
//! What always holds: nothing here reads the environment, prints or keeps global state. Functions that act on the
//! calling *process* (`unshare`, `fork`, capabilities) say so; they refuse or are useless in a threaded process, which
//! is why a step is a re-executed process (`sandbox`).
//!
//! Why not one crate for all of it: nix has no mount descriptors, rustix has neither `mount_setattr` nor
//! `close_range` nor `fork`, and both are used where they are safe. Kernels before 5.12 lack `mount_setattr` and
//! before 5.9 `close_range`; both have a fallback here. `openat2` (5.6) is the floor and has none.

mod bpf;
mod channel;
mod descendants;
mod fact;
mod filter;
mod idmap;
mod landlock;
mod limit;
mod mount;
mod namespace;
mod notify;
mod offer;
mod process;
mod program;
mod seccomp;
mod writeback;

pub use bpf::{Instruction, Program};
pub use channel::{recv_frame, send_frame};
pub use descendants::{adopt_orphans, end_descendants, reap_ended};
pub use fact::{CgroupVersion, Facts, facts};
pub use filter::{Action, Condition, Filter, Rule, Table, Test};
pub use idmap::{IdMap, IdRange, MapTool, current_map, find_tool, map_with_tool, subordinate_range, write_single_map};
pub use idmap::{allow_setgroups, deny_setgroups, write_gid_map, write_map, write_uid_map};
pub use landlock::{Landlock, Reach, landlock_version};
pub use limit::{is_limit, set_limit};
pub use mount::{
    Attributes, Detached, attach, bind, cgroups, deepest_overlay, devpts, make_private, open_path, overlay, pivot,
    probe_overlay, proc_fs, queues, set_attributes, sys_fs, tmpfs,
};
pub use namespace::{Namespaces, is_single_threaded, loopback_up, set_host_name, unshare};
pub use notify::{
    Answer, Call, Listener, STATX, leave_directories, read_memory, real_time_limit, set_real_time_limit, statx_bytes,
    write_memory,
};
pub use offer::{has_user_notification, landlock};
pub use process::{
    Child, Waited, block_ptrace, die_with_parent, exit_now, fork, has_capability, kill, max_child_rss, new_session,
    new_session_keyring, open_pidfd, reap_until, wait_any, wait_for,
};
pub use program::{
    become_root, close_inherited, execute, give_output, keep_descriptors, limit_bounding_set, no_new_privileges,
    permitted_capabilities, reset_signals, set_capabilities, set_ids, set_root_ids, set_umask, silence_output,
    silence_stdin, use_32_bit_personality,
};
pub use seccomp::{FilterFlags, install_filter};
pub use writeback::begin_writeback;
