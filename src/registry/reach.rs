//! Whether a registry is there at all (`distribution-spec spec.md#endpoints`, end-1), for `dockless doctor`.

use std::time::{Duration, Instant};

use reqwest::StatusCode;

use super::error::RegistryError;
use super::hosts::Address;
use super::repository::Registry;
use super::request::Line;
use crate::http::{Patience, Settings, shown};
use crate::oci::{Reference, ReferenceError};

/// What errors call it; the row of a diagnosis has its address.
const WHAT: &str = "the registry";

/// An address, and how long its answer took or what came instead.
pub type Reached = (String, Result<Duration, String>);

impl Registry {
    /// Asks every address of the registry `name`, mirrors first, each for at most about twice `patience`. What it says
    /// to somebody who has not logged in does not matter.
    ///
    /// # Errors
    /// `Reference`, `Hosts`, `Io`: what is configured is wrong.
    pub fn reach(&self, name: &str, patience: Duration) -> Result<Vec<Reached>, RegistryError> {
        let (settings, addresses) = self.addresses(&any(name)?)?;
        let settings =
            Settings { patience: Patience { connect: patience, idle: patience, ..Patience::default() }, ..settings };
        let ask = |address: &Address| -> Result<(), String> {
            let line = Line::new(&settings, &address.trust).map_err(|error| error.to_string())?;
            let request = line.http.client().head(address.base.clone());
            let answer = line.http.block_on(line.send(WHAT, request)).map_err(|error| said(&error))?;
            match answer.status() {
                status if status.is_server_error() || status == StatusCode::NOT_FOUND => {
                    Err(format!("answers `{status}`, which no registry does"))
                }
                _ => Ok(()),
            }
        };
        Ok(std::thread::scope(|scope| {
            let asked: Vec<_> = addresses
                .iter()
                .map(|address| {
                    scope.spawn(move || {
                        let start = Instant::now();
                        (shown(&address.base), ask(address).map(|()| start.elapsed()))
                    })
                })
                .collect();
            asked.into_iter().filter_map(|answer| answer.join().ok()).collect()
        }))
    }
}

fn any(name: &str) -> Result<Reference, RegistryError> {
    let text = format!("{name}/any/thing");
    text.parse().map_err(|error: ReferenceError| RegistryError::Reference { text, reason: error.to_string() })
}

/// An error without what it is about. Its sources say the same in other words.
fn said(error: &RegistryError) -> String {
    let said = error.to_string();
    said.strip_prefix(WHAT).map_or(said.as_str(), |rest| rest.trim_start_matches([':', ' '])).to_owned()
}
