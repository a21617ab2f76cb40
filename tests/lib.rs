//! The promises of dockless, by behaviour, in one binary.

mod architecture;
mod generated;
mod lowering;
mod marshalling;
mod store;
mod support;
