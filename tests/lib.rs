//! The promises of dockless, by behaviour, in one binary.

mod architecture;
mod isolation;
mod support;
