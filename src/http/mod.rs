//! One way to the network: a client with its proxies and its patience, behind blocking calls.
//!
//! What always holds: no socket is opened but through this room; the environment is read by the caller; a run that is
//! to end ends every transfer within a glance; redirects stay with `http` and `https`; nothing that is shown has a
//! user name or a password in it. A transfer is bounded by whoever reads it: this room never takes a body whole.
//!
//! ```text
//! settings ....... proxies, patience, stop, trust: values
//! client ......... the runtime and the client, made once for equal settings
//! headers ........ what servers say of time
//! pace ........... how often progress is told
//! words .......... ends of sentences about what did not come
//! ```
//!
//! Why not a blocking client: those that know proxies and rustls are this one with a thread behind it.

mod client;
mod error;
mod headers;
mod pace;
mod settings;
mod words;

pub use client::{
    Http, REDIRECTS, Redirects, is_certificate, is_not_tls, is_not_valid_yet, is_transient, is_unknown_host,
    unless_stopped,
};
pub use error::{HttpError, Stopped};
pub use headers::{http_date, retry_after};
pub use pace::Pace;
pub use settings::{Patience, Proxies, Settings, Stop, Trust, shown, without_credentials};
pub use words::{Attempts, Last, Said, Wait, one_line, plain};
