//! The system calls that a step may make whatever their arguments, with their numbers on x86-64 and on i386.
//!
//! They are those of Docker's default profile (`moby/profiles seccomp/default.json`) for the capabilities that our steps
//! hold; [`super::filter`] adds what depends on arguments. Numbers are the kernel's (`asm/unistd_64.h`,
//! `asm/unistd_32.h`), which never change.

/// The architecture has no such call.
pub(super) const NONE: u32 = u32::MAX;

/// The first number that is newer than everything the profile names (`removexattrat(2)`, Linux 6.13).
pub(super) const NEWER: u32 = 467;

/// Name, number on x86-64, number on i386.
pub(super) const CALLS: [(&str, u32, u32); 364] = [
    ("accept", 43, NONE),
    ("accept4", 288, 364),
    ("access", 21, 33),
    ("adjtimex", 159, 124),
    ("alarm", 37, 27),
    ("arch_prctl", 158, 384),
    ("bind", 49, 361),
    ("brk", 12, 45),
    ("cachestat", 451, 451),
    ("capget", 125, 184),
    ("capset", 126, 185),
    ("chdir", 80, 12),
    ("chmod", 90, 15),
    ("chown", 92, 182),
    ("chown32", NONE, 212),
    ("chroot", 161, 61),
    ("clock_adjtime", 305, 343),
    ("clock_adjtime64", NONE, 405),
    ("clock_getres", 229, 266),
    ("clock_getres_time64", NONE, 406),
    ("clock_gettime", 228, 265),
    ("clock_gettime64", NONE, 403),
    ("clock_nanosleep", 230, 267),
    ("clock_nanosleep_time64", NONE, 407),
    ("close", 3, 6),
    ("close_range", 436, 436),
    ("connect", 42, 362),
    ("copy_file_range", 326, 377),
    ("creat", 85, 8),
    ("dup", 32, 41),
    ("dup2", 33, 63),
    ("dup3", 292, 330),
    ("epoll_create", 213, 254),
    ("epoll_create1", 291, 329),
    ("epoll_ctl", 233, 255),
    ("epoll_ctl_old", 214, NONE),
    ("epoll_pwait", 281, 319),
    ("epoll_pwait2", 441, 441),
    ("epoll_wait", 232, 256),
    ("epoll_wait_old", 215, NONE),
    ("eventfd", 284, 323),
    ("eventfd2", 290, 328),
    ("execve", 59, 11),
    ("execveat", 322, 358),
    ("exit", 60, 1),
    ("exit_group", 231, 252),
    ("faccessat", 269, 307),
    ("faccessat2", 439, 439),
    ("fadvise64", 221, 250),
    ("fadvise64_64", NONE, 272),
    ("fallocate", 285, 324),
    ("fanotify_mark", 301, 339),
    ("fchdir", 81, 133),
    ("fchmod", 91, 94),
    ("fchmodat", 268, 306),
    ("fchmodat2", 452, 452),
    ("fchown", 93, 95),
    ("fchown32", NONE, 207),
    ("fchownat", 260, 298),
    ("fcntl", 72, 55),
    ("fcntl64", NONE, 221),
    ("fdatasync", 75, 148),
    ("fgetxattr", 193, 231),
    ("flistxattr", 196, 234),
    ("flock", 73, 143),
    ("fork", 57, 2),
    ("fremovexattr", 199, 237),
    ("fsetxattr", 190, 228),
    ("fstat", 5, 108),
    ("fstat64", NONE, 197),
    ("fstatat64", NONE, 300),
    ("fstatfs", 138, 100),
    ("fstatfs64", NONE, 269),
    ("fsync", 74, 118),
    ("ftruncate", 77, 93),
    ("ftruncate64", NONE, 194),
    ("futex", 202, 240),
    ("futex_requeue", 456, 456),
    ("futex_time64", NONE, 422),
    ("futex_wait", 455, 455),
    ("futex_waitv", 449, 449),
    ("futex_wake", 454, 454),
    ("futimesat", 261, 299),
    ("get_robust_list", 274, 312),
    ("get_thread_area", 211, 244),
    ("getcpu", 309, 318),
    ("getcwd", 79, 183),
    ("getdents", 78, 141),
    ("getdents64", 217, 220),
    ("getegid", 108, 50),
    ("getegid32", NONE, 202),
    ("geteuid", 107, 49),
    ("geteuid32", NONE, 201),
    ("getgid", 104, 47),
    ("getgid32", NONE, 200),
    ("getgroups", 115, 80),
    ("getgroups32", NONE, 205),
    ("getitimer", 36, 105),
    ("getpeername", 52, 368),
    ("getpgid", 121, 132),
    ("getpgrp", 111, 65),
    ("getpid", 39, 20),
    ("getppid", 110, 64),
    ("getpriority", 140, 96),
    ("getrandom", 318, 355),
    ("getresgid", 120, 171),
    ("getresgid32", NONE, 211),
    ("getresuid", 118, 165),
    ("getresuid32", NONE, 209),
    ("getrlimit", 97, 76),
    ("getrusage", 98, 77),
    ("getsid", 124, 147),
    ("getsockname", 51, 367),
    ("getsockopt", 55, 365),
    ("gettid", 186, 224),
    ("gettimeofday", 96, 78),
    ("getuid", 102, 24),
    ("getuid32", NONE, 199),
    ("getxattr", 191, 229),
    ("getxattrat", 464, 464),
    ("inotify_add_watch", 254, 292),
    ("inotify_init", 253, 291),
    ("inotify_init1", 294, 332),
    ("inotify_rm_watch", 255, 293),
    ("io_cancel", 210, 249),
    ("io_destroy", 207, 246),
    ("io_getevents", 208, 247),
    ("io_pgetevents", 333, 385),
    ("io_pgetevents_time64", NONE, 416),
    ("io_setup", 206, 245),
    ("io_submit", 209, 248),
    ("ioctl", 16, 54),
    ("ioprio_get", 252, 290),
    ("ioprio_set", 251, 289),
    ("ipc", NONE, 117),
    ("kill", 62, 37),
    ("landlock_add_rule", 445, 445),
    ("landlock_create_ruleset", 444, 444),
    ("landlock_restrict_self", 446, 446),
    ("lchown", 94, 16),
    ("lchown32", NONE, 198),
    ("lgetxattr", 192, 230),
    ("link", 86, 9),
    ("linkat", 265, 303),
    ("listen", 50, 363),
    ("listmount", 458, 458),
    ("listxattr", 194, 232),
    ("listxattrat", 465, 465),
    ("llistxattr", 195, 233),
    ("_llseek", NONE, 140),
    ("lremovexattr", 198, 236),
    ("lseek", 8, 19),
    ("lsetxattr", 189, 227),
    ("lstat", 6, 107),
    ("lstat64", NONE, 196),
    ("madvise", 28, 219),
    ("map_shadow_stack", 453, 453),
    ("membarrier", 324, 375),
    ("memfd_create", 319, 356),
    ("memfd_secret", 447, 447),
    ("mincore", 27, 218),
    ("mkdir", 83, 39),
    ("mkdirat", 258, 296),
    ("mknod", 133, 14),
    ("mknodat", 259, 297),
    ("mlock", 149, 150),
    ("mlock2", 325, 376),
    ("mlockall", 151, 152),
    ("mmap", 9, 90),
    ("mmap2", NONE, 192),
    ("modify_ldt", 154, 123),
    ("mprotect", 10, 125),
    ("mq_getsetattr", 245, 282),
    ("mq_notify", 244, 281),
    ("mq_open", 240, 277),
    ("mq_timedreceive", 243, 280),
    ("mq_timedreceive_time64", NONE, 419),
    ("mq_timedsend", 242, 279),
    ("mq_timedsend_time64", NONE, 418),
    ("mq_unlink", 241, 278),
    ("mremap", 25, 163),
    ("mseal", 462, 462),
    ("msgctl", 71, 402),
    ("msgget", 68, 399),
    ("msgrcv", 70, 401),
    ("msgsnd", 69, 400),
    ("msync", 26, 144),
    ("munlock", 150, 151),
    ("munlockall", 152, 153),
    ("munmap", 11, 91),
    ("name_to_handle_at", 303, 341),
    ("nanosleep", 35, 162),
    ("newfstatat", 262, NONE),
    ("_newselect", NONE, 142),
    ("open", 2, 5),
    ("openat", 257, 295),
    ("openat2", 437, 437),
    ("pause", 34, 29),
    ("pidfd_open", 434, 434),
    ("pidfd_send_signal", 424, 424),
    ("pipe", 22, 42),
    ("pipe2", 293, 331),
    ("pkey_alloc", 330, 381),
    ("pkey_free", 331, 382),
    ("pkey_mprotect", 329, 380),
    ("poll", 7, 168),
    ("ppoll", 271, 309),
    ("ppoll_time64", NONE, 414),
    ("prctl", 157, 172),
    ("pread64", 17, 180),
    ("preadv", 295, 333),
    ("preadv2", 327, 378),
    ("prlimit64", 302, 340),
    ("process_mrelease", 448, 448),
    ("process_vm_readv", 310, 347),
    ("process_vm_writev", 311, 348),
    ("pselect6", 270, 308),
    ("pselect6_time64", NONE, 413),
    ("ptrace", 101, 26),
    ("pwrite64", 18, 181),
    ("pwritev", 296, 334),
    ("pwritev2", 328, 379),
    ("read", 0, 3),
    ("readahead", 187, 225),
    ("readlink", 89, 85),
    ("readlinkat", 267, 305),
    ("readv", 19, 145),
    ("recvfrom", 45, 371),
    ("recvmmsg", 299, 337),
    ("recvmmsg_time64", NONE, 417),
    ("recvmsg", 47, 372),
    ("remap_file_pages", 216, 257),
    ("removexattr", 197, 235),
    ("removexattrat", 466, 466),
    ("rename", 82, 38),
    ("renameat", 264, 302),
    ("renameat2", 316, 353),
    ("restart_syscall", 219, 0),
    ("rmdir", 84, 40),
    ("rseq", 334, 386),
    ("rt_sigaction", 13, 174),
    ("rt_sigpending", 127, 176),
    ("rt_sigprocmask", 14, 175),
    ("rt_sigqueueinfo", 129, 178),
    ("rt_sigreturn", 15, 173),
    ("rt_sigsuspend", 130, 179),
    ("rt_sigtimedwait", 128, 177),
    ("rt_sigtimedwait_time64", NONE, 421),
    ("rt_tgsigqueueinfo", 297, 335),
    ("sched_get_priority_max", 146, 159),
    ("sched_get_priority_min", 147, 160),
    ("sched_getaffinity", 204, 242),
    ("sched_getattr", 315, 352),
    ("sched_getparam", 143, 155),
    ("sched_getscheduler", 145, 157),
    ("sched_rr_get_interval", 148, 161),
    ("sched_rr_get_interval_time64", NONE, 423),
    ("sched_setaffinity", 203, 241),
    ("sched_setattr", 314, 351),
    ("sched_setparam", 142, 154),
    ("sched_setscheduler", 144, 156),
    ("sched_yield", 24, 158),
    ("seccomp", 317, 354),
    ("select", 23, 82),
    ("semctl", 66, 394),
    ("semget", 64, 393),
    ("semop", 65, NONE),
    ("semtimedop", 220, NONE),
    ("semtimedop_time64", NONE, 420),
    ("sendfile", 40, 187),
    ("sendfile64", NONE, 239),
    ("sendmmsg", 307, 345),
    ("sendmsg", 46, 370),
    ("sendto", 44, 369),
    ("set_robust_list", 273, 311),
    ("set_thread_area", 205, 243),
    ("set_tid_address", 218, 258),
    ("setfsgid", 123, 139),
    ("setfsgid32", NONE, 216),
    ("setfsuid", 122, 138),
    ("setfsuid32", NONE, 215),
    ("setgid", 106, 46),
    ("setgid32", NONE, 214),
    ("setgroups", 116, 81),
    ("setgroups32", NONE, 206),
    ("setitimer", 38, 104),
    ("setpgid", 109, 57),
    ("setpriority", 141, 97),
    ("setregid", 114, 71),
    ("setregid32", NONE, 204),
    ("setresgid", 119, 170),
    ("setresgid32", NONE, 210),
    ("setresuid", 117, 164),
    ("setresuid32", NONE, 208),
    ("setreuid", 113, 70),
    ("setreuid32", NONE, 203),
    ("setrlimit", 160, 75),
    ("setsid", 112, 66),
    ("setsockopt", 54, 366),
    ("setuid", 105, 23),
    ("setuid32", NONE, 213),
    ("setxattr", 188, 226),
    ("setxattrat", 463, 463),
    ("shmat", 30, 397),
    ("shmctl", 31, 396),
    ("shmdt", 67, 398),
    ("shmget", 29, 395),
    ("shutdown", 48, 373),
    ("sigaltstack", 131, 186),
    ("signalfd", 282, 321),
    ("signalfd4", 289, 327),
    ("sigprocmask", NONE, 126),
    ("sigreturn", NONE, 119),
    ("socketcall", NONE, 102),
    ("socketpair", 53, 360),
    ("splice", 275, 313),
    ("stat", 4, 106),
    ("stat64", NONE, 195),
    ("statfs", 137, 99),
    ("statfs64", NONE, 268),
    ("statmount", 457, 457),
    ("statx", 332, 383),
    ("symlink", 88, 83),
    ("symlinkat", 266, 304),
    ("sync", 162, 36),
    ("sync_file_range", 277, 314),
    ("syncfs", 306, 344),
    ("sysinfo", 99, 116),
    ("tee", 276, 315),
    ("tgkill", 234, 270),
    ("time", 201, 13),
    ("timer_create", 222, 259),
    ("timer_delete", 226, 263),
    ("timer_getoverrun", 225, 262),
    ("timer_gettime", 224, 261),
    ("timer_gettime64", NONE, 408),
    ("timer_settime", 223, 260),
    ("timer_settime64", NONE, 409),
    ("timerfd_create", 283, 322),
    ("timerfd_gettime", 287, 326),
    ("timerfd_gettime64", NONE, 410),
    ("timerfd_settime", 286, 325),
    ("timerfd_settime64", NONE, 411),
    ("times", 100, 43),
    ("tkill", 200, 238),
    ("truncate", 76, 92),
    ("truncate64", NONE, 193),
    ("ugetrlimit", NONE, 191),
    ("umask", 95, 60),
    ("uname", 63, 122),
    ("unlink", 87, 10),
    ("unlinkat", 263, 301),
    ("uretprobe", 335, NONE),
    ("utime", 132, 30),
    ("utimensat", 280, 320),
    ("utimensat_time64", NONE, 412),
    ("utimes", 235, 271),
    ("vfork", 58, 190),
    ("vmsplice", 278, 316),
    ("wait4", 61, 114),
    ("waitid", 247, 284),
    ("waitpid", NONE, 7),
    ("write", 1, 4),
    ("writev", 20, 146),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;

    use super::*;

    macro_rules! numbers {
        ($($name:ident)*) => { [$((stringify!($name), libc::$name)),*] };
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn the_numbers_are_those_of_libc() {
        // All that libc knows of the table.
        let known = numbers!(
            SYS_accept SYS_accept4 SYS_access SYS_adjtimex SYS_alarm SYS_arch_prctl SYS_bind SYS_brk
            SYS_capget SYS_capset SYS_chdir SYS_chmod SYS_chown SYS_chroot SYS_clock_adjtime
            SYS_clock_getres SYS_clock_gettime SYS_clock_nanosleep SYS_close SYS_close_range
            SYS_connect SYS_copy_file_range SYS_creat SYS_dup SYS_dup2 SYS_dup3 SYS_epoll_create
            SYS_epoll_create1 SYS_epoll_ctl SYS_epoll_ctl_old SYS_epoll_pwait SYS_epoll_pwait2
            SYS_epoll_wait SYS_epoll_wait_old SYS_eventfd SYS_eventfd2 SYS_execve SYS_execveat
            SYS_exit SYS_exit_group SYS_faccessat SYS_faccessat2 SYS_fadvise64 SYS_fallocate
            SYS_fanotify_mark SYS_fchdir SYS_fchmod SYS_fchmodat SYS_fchmodat2 SYS_fchown
            SYS_fchownat SYS_fcntl SYS_fdatasync SYS_fgetxattr SYS_flistxattr SYS_flock SYS_fork
            SYS_fremovexattr SYS_fsetxattr SYS_fstat SYS_fstatfs SYS_fsync SYS_ftruncate SYS_futex
            SYS_futex_waitv SYS_futimesat SYS_get_robust_list SYS_get_thread_area SYS_getcpu
            SYS_getcwd SYS_getdents SYS_getdents64 SYS_getegid SYS_geteuid SYS_getgid SYS_getgroups
            SYS_getitimer SYS_getpeername SYS_getpgid SYS_getpgrp SYS_getpid SYS_getppid
            SYS_getpriority SYS_getrandom SYS_getresgid SYS_getresuid SYS_getrlimit SYS_getrusage
            SYS_getsid SYS_getsockname SYS_getsockopt SYS_gettid SYS_gettimeofday SYS_getuid
            SYS_getxattr SYS_inotify_add_watch SYS_inotify_init SYS_inotify_init1
            SYS_inotify_rm_watch SYS_io_cancel SYS_io_destroy SYS_io_getevents SYS_io_setup
            SYS_io_submit SYS_ioctl SYS_ioprio_get SYS_ioprio_set SYS_kill SYS_landlock_add_rule
            SYS_landlock_create_ruleset SYS_landlock_restrict_self SYS_lchown SYS_lgetxattr SYS_link
            SYS_linkat SYS_listen SYS_listxattr SYS_llistxattr SYS_lremovexattr SYS_lseek
            SYS_lsetxattr SYS_lstat SYS_madvise SYS_membarrier SYS_memfd_create SYS_memfd_secret
            SYS_mincore SYS_mkdir SYS_mkdirat SYS_mknod SYS_mknodat SYS_mlock SYS_mlock2
            SYS_mlockall SYS_mmap SYS_modify_ldt SYS_mprotect SYS_mq_getsetattr SYS_mq_notify
            SYS_mq_open SYS_mq_timedreceive SYS_mq_timedsend SYS_mq_unlink SYS_mremap SYS_mseal
            SYS_msgctl SYS_msgget SYS_msgrcv SYS_msgsnd SYS_msync SYS_munlock SYS_munlockall
            SYS_munmap SYS_name_to_handle_at SYS_nanosleep SYS_newfstatat SYS_open SYS_openat
            SYS_openat2 SYS_pause SYS_pidfd_open SYS_pidfd_send_signal SYS_pipe SYS_pipe2
            SYS_pkey_alloc SYS_pkey_free SYS_pkey_mprotect SYS_poll SYS_ppoll SYS_prctl SYS_pread64
            SYS_preadv SYS_preadv2 SYS_prlimit64 SYS_process_mrelease SYS_process_vm_readv
            SYS_process_vm_writev SYS_pselect6 SYS_ptrace SYS_pwrite64 SYS_pwritev SYS_pwritev2
            SYS_read SYS_readahead SYS_readlink SYS_readlinkat SYS_readv SYS_recvfrom SYS_recvmmsg
            SYS_recvmsg SYS_remap_file_pages SYS_removexattr SYS_rename SYS_renameat SYS_renameat2
            SYS_restart_syscall SYS_rmdir SYS_rseq SYS_rt_sigaction SYS_rt_sigpending
            SYS_rt_sigprocmask SYS_rt_sigqueueinfo SYS_rt_sigreturn SYS_rt_sigsuspend
            SYS_rt_sigtimedwait SYS_rt_tgsigqueueinfo SYS_sched_get_priority_max
            SYS_sched_get_priority_min SYS_sched_getaffinity SYS_sched_getattr SYS_sched_getparam
            SYS_sched_getscheduler SYS_sched_rr_get_interval SYS_sched_setaffinity SYS_sched_setattr
            SYS_sched_setparam SYS_sched_setscheduler SYS_sched_yield SYS_seccomp SYS_select
            SYS_semctl SYS_semget SYS_semop SYS_semtimedop SYS_sendfile SYS_sendmmsg SYS_sendmsg
            SYS_sendto SYS_set_robust_list SYS_set_thread_area SYS_set_tid_address SYS_setfsgid
            SYS_setfsuid SYS_setgid SYS_setgroups SYS_setitimer SYS_setpgid SYS_setpriority
            SYS_setregid SYS_setresgid SYS_setresuid SYS_setreuid SYS_setrlimit SYS_setsid
            SYS_setsockopt SYS_setuid SYS_setxattr SYS_shmat SYS_shmctl SYS_shmdt SYS_shmget
            SYS_shutdown SYS_sigaltstack SYS_signalfd SYS_signalfd4 SYS_socketpair SYS_splice
            SYS_stat SYS_statfs SYS_statx SYS_symlink SYS_symlinkat SYS_sync SYS_sync_file_range
            SYS_syncfs SYS_sysinfo SYS_tee SYS_tgkill SYS_time SYS_timer_create SYS_timer_delete
            SYS_timer_getoverrun SYS_timer_gettime SYS_timer_settime SYS_timerfd_create
            SYS_timerfd_gettime SYS_timerfd_settime SYS_times SYS_tkill SYS_truncate SYS_umask
            SYS_uname SYS_unlink SYS_unlinkat SYS_utime SYS_utimensat SYS_utimes SYS_vfork
            SYS_vmsplice SYS_wait4 SYS_waitid SYS_write SYS_writev
        );
        let table: BTreeMap<&str, u32> = CALLS.iter().map(|(name, number, _)| (*name, *number)).collect();
        for (name, number) in known {
            assert_eq!(table.get(&name[4..]).map(|number| i64::from(*number)), Some(number), "{name}");
        }
    }

    #[test]
    fn the_numbers_are_those_of_the_kernels_headers_where_the_machine_has_them() {
        for (words, column) in [("64", 1), ("32", 2)] {
            let path = format!("/usr/include/x86_64-linux-gnu/asm/unistd_{words}.h");
            let Ok(text) = fs::read_to_string(&path) else {
                println!("SKIPPED (headers): there is no `{path}`");
                continue;
            };
            let numbers: BTreeMap<&str, u32> = text
                .lines()
                .filter_map(|line| line.strip_prefix("#define __NR_")?.split_once(' '))
                .filter_map(|(name, number)| Some((name, number.trim().parse().ok()?)))
                .collect();
            let newest = numbers.values().max().copied().unwrap_or_default();
            for (name, first, second) in CALLS {
                let ours = if column == 1 { first } else { second };
                match numbers.get(name) {
                    Some(theirs) => assert_eq!(ours, *theirs, "{name} of {words}"),
                    // `uretprobe` fills a gap in the numbers of older headers.
                    None => assert!(ours > newest || name == "uretprobe", "{name} of {words}"),
                }
            }
        }
    }

    #[test]
    fn no_number_is_given_twice_and_none_is_newer_than_the_newest() {
        for column in [CALLS.map(|(_, number, _)| number), CALLS.map(|(_, _, number)| number)] {
            let mut numbers: Vec<u32> = column.into_iter().filter(|number| *number != NONE).collect();
            numbers.sort_unstable();
            assert!(numbers.is_sorted_by(|a, b| a < b));
            assert_eq!(numbers.last(), Some(&(NEWER - 1)));
        }
    }
}
