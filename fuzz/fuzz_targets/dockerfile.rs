//! Any text is a Dockerfile or an error whose picture lies in it.
#![no_main]

use dockless::dockerfile::{Dockerfile, Options, lower};
use dockless::oci::Digest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let config = br#"{"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":[]}}"#;
    let resolver = |_: &_, _: &_| Ok((Digest::of(b"image"), config.to_vec()));
    if let Err(error) = lower(Dockerfile { name: "Dockerfile", text }, &Options::default(), &resolver) {
        if let Some(picture) = error.picture() {
            assert!(picture.text.get(picture.span.clone()).is_some());
        }
    }
});
