//! The REST interfaces of forges (GitHub's and GitLab's, also self-managed ones): one request, its answer judged, attempts
//! with growing pauses.
//!
//! What always holds: a token goes to the server that it is for, in one header, and never along a redirect to another;
//! no error, note or `Debug` output holds it, also where a server repeats it; answers are bounded; segments of addresses
//! are encoded here, so that no tag or file name can lead elsewhere; nothing is encrypted only towards loopback.
//!
//! ```text
//! token .......... who we are
//! api ............ addresses, requests, answers, attempts; answer: limits, words about errors
//! clock .......... this machine's clock against the server's
//! error, help .... what went wrong, and the way out
//! ```
//!
//! An attempt is a closure that looks first and acts then: whether an act whose answer got lost was done is found out by
//! the look of the next attempt, so that nothing is done twice.
//!
//! Why no client of these interfaces from elsewhere: each brings a second HTTP stack, none retries an upload, and none has
//! both forges. We use a dozen addresses in all.

mod answer;
mod api;
mod clock;
mod error;
mod help;
mod token;

pub use api::{Answer, Api, Content, Dialect, Server};
pub use clock::check_clock;
pub use error::ForgeError;
pub use token::{Header, Token};
