//! Any text is a policy or an error, and evaluation ends: its first line is the source, the rest the policy.
#![no_main]

use std::path::Path;

use dockless::llb::pb::SourceOp;
use dockless::policy::{Policies, Policy};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Some((identifier, json)) = text.split_once('\n') else { return };
    let Ok(policy) = Policy::parse(json, Path::new("policy.json")) else { return };
    let policies = Policies::new(vec![policy]);
    let source = SourceOp { identifier: identifier.to_owned(), ..SourceOp::default() };
    if let Ok(Some(converted)) = policies.evaluate(&source) {
        assert!(matches!(policies.evaluate(&converted), Ok(None)), "what came out is a fixed point");
    }
});
