//! `-o type=TYPE,dest=PATH,…`: what a result becomes, as BuildKit's clients write it.
//!
//! All that can be wrong with an output is found before anything is built. One that fails leaves what was there before;
//! those before it in the command line stay.

mod keys;
mod parse;
mod write;

pub(crate) use parse::{Output, OutputType};
pub(crate) use write::{OutputArgs, Outputs, Surroundings};
