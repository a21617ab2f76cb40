//! The promises of dockless, by behaviour, in one binary.

mod architecture;
mod isolation;
mod layers;
mod layers_hostile;
mod snapshots;
mod store;
mod support;
