//! The kernel: safe functions over the system calls, and all unsafe code.
