//! Views of a solve: what a person or a program sees while work goes on.
//!
//! Four views of the same events ([`crate::progress::Event`]):
//!
//! ```text
//! tty     a live region at the bottom of the terminal, finished steps scroll up above it
//! plain   one line an event, steps numbered in order of appearance; for files and CI logs
//! json    one JSON object a line, a stable schema (`json.rs`); for programs
//! quiet   nothing: errors are told by `cli::report`
//! ```
//!
//! What always holds: everything goes to standard error; a view takes an event from any thread and never panics on
//! it; output of a step is data, so its control characters are shown and never reach the terminal (`text.rs`); a
//! terminal that went away or a closed pipe ends the view and not the build.
//!
//! `plain` and `json` write as events come, one write an event; a reader that stops reading holds the build up, as it
//! does with make. `tty` only changes a picture in memory, and one thread draws it ten times a second, so that a
//! stopped terminal holds nothing up.
//!
//! Why not indicatif: it fills every line with blanks up to the terminal's width and erases as many rows as the last
//! draw had at its own width, so that a terminal made narrower keeps torn copies of the old region; and it reads its
//! own clock, which no test can turn. What is left to write ourselves is `screen.rs`.

mod frame;
mod json;
mod lines;
mod model;
mod moving;
mod plain;
mod screen;
mod style;
mod text;
mod tty;
mod units;
mod view;

pub use style::Style;
pub use text::{clean, fit, width};
pub use units::{bytes, elapsed};
pub use view::{Mode, ModeError, View};
