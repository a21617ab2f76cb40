//! The `dockless` command: decides which of its lives this process is, before any thread exists.

fn main() {
    if let Some(life) = dockless::sandbox::life(std::env::args_os()) {
        life.live();
    }
}
