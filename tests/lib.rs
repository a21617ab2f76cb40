//! The promises of dockless, by behaviour, in one binary.

mod architecture;
mod fetching;
mod fetching_server;
mod store;
mod support;
