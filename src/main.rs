//! The `dockless` command: decides which of its lives this process is, before any thread exists.

use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(life) = dockless::sandbox::life(std::env::args_os()) {
        life.live();
    }
    dockless::cli::main()
}
