//! The `dockless` command: decides which of its lives this process is, before any thread exists.

fn main() {}
