//! The promises of dockless, by behaviour, in one binary.

mod architecture;
mod generated;
mod marshalling;
mod support;
