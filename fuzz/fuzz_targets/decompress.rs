//! No compressed bytes make the decoders panic or give more than they may.
#![no_main]

use std::io::Read as _;

use dockless::layer::{Limits, decompress};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { bytes: 1 << 20, ..Limits::default() };
    let Ok(mut reader) = decompress(bytes, &limits) else { return };
    let mut out = Vec::new();
    // Plain bytes are no more than what came in.
    if reader.read_to_end(&mut out).is_ok() {
        assert!(out.len() <= bytes.len().max(1 << 20));
    }
});
