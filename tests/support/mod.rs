//! What tests share: temporary places, a registry, and skipping aloud.

pub(crate) mod buildkit;
pub(crate) mod cell;
pub(crate) mod container;
pub(crate) mod forge;
pub(crate) mod forge_gitea;
pub(crate) mod forge_github;
pub(crate) mod forge_gitlab;
pub(crate) mod images;
pub(crate) mod probe;
pub(crate) mod registry;
pub(crate) mod release;
pub(crate) mod schema;
pub(crate) mod solve;

/// Reports that the machine lacks `what`, with the reason; fails instead when `DOCKLESS_REQUIRE` lists it.
///
/// `DOCKLESS_REQUIRE` is a comma-separated list of things that must be there, or `all`.
#[expect(clippy::disallowed_methods, reason = "tests read the environment to decide what must not be skipped")]
#[expect(clippy::print_stderr, reason = "a skip is said aloud")]
pub(crate) fn skip(what: &str, reason: &str) {
    let required = std::env::var("DOCKLESS_REQUIRE").unwrap_or_default();
    assert!(
        !required.split(',').any(|item| item == what || item == "all"),
        "`{what}` is required by DOCKLESS_REQUIRE but: {reason}"
    );
    eprintln!("SKIPPED ({what}): {reason}");
}
