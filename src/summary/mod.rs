//! What a release says of itself: notes for people, metrics for Prometheus, a page with all of it. Pure: `Description` in,
//! text out, the same for the same release.
//!
//! ```text
//! notes .......... RELEASE_NOTES.md: components, changes, files, how to verify; or a template
//! metrics ........ metrics.prom (prometheus.io exposition formats, text 0.0.4)
//! report ......... report.html: matrix, timeline, sizes, tests; one file, no scripts, nothing from elsewhere
//! table, units ... tables of Markdown; sizes and times for people
//! ```
//!
//! What always holds: nothing that a component, step or error is called leaves its place: Markdown, label values and HTML
//! are escaped here.

mod metrics;
mod notes;
mod page;
mod report;
mod units;

pub use metrics::metrics;
pub use notes::{NotesError, Previous, notes};
pub use report::report;
