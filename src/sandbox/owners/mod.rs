//! Owners for a step that has one id only.

mod calls;
mod creds;
mod files;
mod link;
mod overseer;
mod stat;
mod view;

pub(super) use link::Oversight;
