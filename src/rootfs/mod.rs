//! Base root filesystems from locked Debian packages.
