//! What the kernel offers beyond namespaces, asked without using it.

#![expect(unsafe_code, reason = "neither nix nor rustix asks these questions")]

use std::ptr;

/// Returns the version of Landlock (`landlock(7)`, `LANDLOCK_CREATE_RULESET_VERSION`); `None` where it is not built in,
/// not switched on or forbidden.
pub fn landlock() -> Option<u32> {
    const VERSION: libc::c_uint = 1;
    // SAFETY: with this flag no attributes are read, and nothing is made.
    let answer =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, ptr::null::<libc::c_void>(), 0_usize, VERSION) };
    u32::try_from(answer).ok()
}

/// Tells whether a seccomp filter may have its caller wait for somebody's answer (`seccomp(2)`,
/// `SECCOMP_GET_ACTION_AVAIL`, `SECCOMP_RET_USER_NOTIF`).
pub fn has_user_notification() -> bool {
    let action = libc::SECCOMP_RET_USER_NOTIF;
    // SAFETY: one action is read, which outlives the call; no filter is installed.
    let answer = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0, &raw const action) };
    answer == 0
}
