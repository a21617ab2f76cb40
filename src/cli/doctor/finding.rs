//! One row of a diagnosis.

use serde::Serialize;

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Ok,
    /// A build runs, less well.
    Degraded,
    /// Not there.
    Missing,
}

/// One row of the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub name: &'static str,
    /// How it is.
    pub state: State,
    /// Whether no build runs without it.
    pub needed: bool,
    /// What was found.
    pub detail: String,
    /// The commands that mend it, or what to do, one a line.
    pub mend: Vec<String>,
}

pub(super) fn finding(name: &'static str, state: State, detail: impl Into<String>) -> Finding {
    Finding { name, state, needed: false, detail: detail.into(), mend: Vec::new() }
}

impl Finding {
    pub(super) fn needed(mut self) -> Self {
        self.needed = true;
        self
    }

    pub(super) fn mend(mut self, command: impl Into<String>) -> Self {
        self.mend.push(command.into());
        self
    }
}
