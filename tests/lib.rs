//! The promises of dockless, by behaviour, in one binary.

mod architecture;
mod fetching;
mod fetching_origins;
mod fetching_server;
mod generated;
mod isolation;
mod lowering;
mod marshalling;
mod messages_report;
mod store;
mod support;
