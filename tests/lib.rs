//! The promises of dockless, by behaviour, in one binary.

mod architecture;
mod caching;
mod contents;
mod exports;
mod fetching;
mod fetching_origins;
mod fetching_server;
mod files;
mod files_hostile;
mod generated;
mod isolation;
mod layers;
mod layers_hostile;
mod locks;
mod lowering;
mod marshalling;
mod messages_command;
mod messages_report;
mod patterns;
mod recipes;
mod rootfs;
mod rootfs_properties;
mod snapshots;
mod store;
mod support;
