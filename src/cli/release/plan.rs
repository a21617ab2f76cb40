//! Which variants, what they are called, and by which profile: whatever is wrong is told before the first of many minutes.

use std::path::Path;

use super::args::Release;
use crate::build::Project;
use crate::cli::failure::Failure;
use crate::cli::forge::now;
use crate::cli::session::Session;
use crate::dist;
use crate::progress::{Event, Progress};
use crate::recipe::{Profile, RecipeError, Request};
use crate::release::{Cell, Variant};

/// Returns the cells of the matrix, in its order.
pub(super) fn cells(
    session: &Session<'_>,
    args: &Release,
    project: &Project,
    told: &dyn Progress,
) -> Result<Vec<Cell>, Failure> {
    let matrix = &project.recipes.matrix;
    let versions = if args.what.is_empty() { &matrix.versions } else { &args.what };
    let architectures = if args.arch.is_empty() { &matrix.architectures } else { &args.arch };
    let pattern = args.name.as_ref().unwrap_or(&matrix.name);
    let date = date(session, args);
    let mut cells: Vec<Cell> = Vec::new();
    for version in versions {
        for arch in architectures {
            let variant = Variant { version: version.clone(), arch: *arch };
            if cells.iter().any(|cell| cell.variant == variant) {
                continue;
            }
            let profile = profile(session, &variant, project, told)?;
            let name = name(pattern, &variant, &date)?;
            cells.push(Cell { variant, name, profile });
        }
    }
    Ok(cells)
}

/// Who asks for a profile gets that one or an error; who does not gets the best there is, and is told.
fn profile(
    session: &Session<'_>,
    variant: &Variant,
    project: &Project,
    told: &dyn Progress,
) -> Result<Profile, Failure> {
    let request = [Request { name: "python".to_owned(), version: Some(variant.version.clone()) }];
    let lower = |profile| project.recipes.lower(&request, variant.arch, profile, session.epoch(project));
    let profile = session.profile(Profile::Release);
    match lower(profile) {
        Err(error @ RecipeError::Untrained { .. }) if !session.asks_for_profile() => {
            lower(Profile::Quick)?;
            told.event(&Event::Note { message: &format!("warning: {error}: profile `quick` is taken") });
            Ok(Profile::Quick)
        }
        lowered => Ok(lowered.map(|_| profile)?),
    }
}

/// The day that names are made of, `2026-11-26`.
fn date(session: &Session<'_>, args: &Release) -> String {
    let epoch = session.global.epoch.and_then(|epoch| i64::try_from(epoch).ok());
    let today = || {
        let now = jiff::Timestamp::from_second(epoch.unwrap_or_else(now)).unwrap_or_default();
        now.to_zoned(jiff::tz::TimeZone::UTC).date()
    };
    args.date.unwrap_or_else(today).to_string()
}

/// Returns the name of a variant's files, from which people and `dockless publish` read what it is.
fn name(pattern: &str, variant: &Variant, date: &str) -> Result<String, Failure> {
    let name = pattern.replace("{version}", &variant.version).replace("{arch}", variant.arch.name());
    let name = name.replace("{date}", date);
    let is_plain = !name.contains(['{', '}']) && dist::is_plain(&format!("{name}-full.tar.gz.sigstore.json"));
    if !is_plain || dist::variant_of(&name) != Some((variant.version.clone(), variant.arch)) {
        let message = format!(
            "the name `{pattern}` does not say which variant a tarball is: write letters, digits, `.`, `_` and `+`, with {{version}}, \
             {{arch}} and if wanted {{date}} between hyphens, such as standalone-python-{{version}}-{{arch}}-{{date}}"
        );
        return Err(Failure::Usage { message });
    }
    Ok(name)
}

/// Refuses to begin what could not be put where it is to go.
pub(super) fn check_place(place: &Path) -> Result<(), Failure> {
    dist::release_at(place).map_err(crate::publish::PublishError::from)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Arch;

    #[test]
    fn a_name_says_version_and_architecture_or_is_refused() {
        let variant = Variant { version: "3.12".to_owned(), arch: Arch::X86 };
        let named = |pattern| name(pattern, &variant, "2026-11-26");
        assert_eq!(named("release-{version}-{arch}").expect("a name"), "release-3.12-x86");
        let dated = named("standalone-python-{version}-{arch}-{date}").expect("a name");
        assert_eq!(dated, "standalone-python-3.12-x86-2026-11-26");
        for pattern in [
            "release-{version}",
            "{arch}",
            "r{version}{arch}",
            "../{version}-{arch}",
            "{version}-{arch}-{tag}",
            "-{version}-{arch}",
            "a b-{version}-{arch}",
        ] {
            let error = named(pattern).expect_err(pattern).to_string();
            assert!(error.contains(pattern) && error.contains("{date}"), "{error}");
        }
        assert!(named(&format!("{}-{{version}}-{{arch}}", "a".repeat(100))).is_err());
    }
}
