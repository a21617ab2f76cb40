//! The promises of dockless, by behaviour, in one binary.

mod architecture;
mod fetching;
mod fetching_origins;
mod fetching_server;
mod generated;
mod locks;
mod lowering;
mod marshalling;
mod rootfs;
mod rootfs_properties;
mod store;
mod support;
