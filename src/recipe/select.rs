//! Which locked source answers a name and perhaps a version, and saying so.

use super::{LockedSource, RecipeError, SourceLock, Version};

/// A source that was chosen, and what else could have been.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The source.
    pub source: LockedSource,
    /// Its set.
    pub set: String,
    /// A newer version that the request would also fit, with its set: to be said aloud, never taken silently.
    pub newer: Option<(Version, String)>,
}

/// Picks the source `name`; with `wanted`, of that version or the newest within that series.
///
/// The first set that has a fitting version wins, so that the order of the sets is the user's preference. A
/// pre-release is taken only where it is named or nothing else fits.
pub(super) fn select(
    locks: &[SourceLock],
    name: &str,
    wanted: Option<&str>,
    recipe: &str,
) -> Result<Choice, RecipeError> {
    let fitting = |lock: &SourceLock| -> Option<LockedSource> {
        let fits: Vec<&LockedSource> =
            lock.named(name).into_iter().filter(|s| wanted.is_none_or(|wanted| s.version.is_within(wanted))).collect();
        let named = |s: &&&LockedSource| !s.version.is_prerelease() || wanted == Some(s.version.as_str());
        fits.iter().find(named).or(fits.first()).map(|source| (*source).clone())
    };
    let found: Vec<(LockedSource, &str)> =
        locks.iter().filter_map(|lock| Some((fitting(lock)?, lock.set.as_str()))).collect();
    let chosen = found.iter().find(|(source, _)| !source.version.is_prerelease()).or(found.first());
    let Some((source, set)) = chosen.cloned() else { return Err(missing(locks, name, wanted, recipe)) };
    let newer = found
        .iter()
        .filter(|(other, _)| other.version > source.version && !other.version.is_prerelease())
        .max_by(|(a, _), (b, _)| a.version.cmp(&b.version))
        .map(|(other, set)| (other.version.clone(), (*set).to_owned()));
    Ok(Choice { set: set.to_owned(), newer, source })
}

fn missing(locks: &[SourceLock], name: &str, wanted: Option<&str>, recipe: &str) -> RecipeError {
    let mut known: Vec<(&Version, &str)> =
        locks.iter().flat_map(|lock| lock.named(name).into_iter().map(|s| (&s.version, lock.set.as_str()))).collect();
    known.sort();
    known.dedup_by_key(|(version, _)| version.as_str().to_owned());
    match wanted {
        Some(wanted) if !known.is_empty() => {
            let series = Version::new(wanted).series();
            let near: Vec<&(&Version, &str)> = known.iter().filter(|(version, _)| version.series() == series).collect();
            let newest = |list: Vec<&(&Version, &str)>| {
                let mut best: Vec<(&Version, &str)> = Vec::new();
                for (version, set) in list {
                    best.retain(|(other, _)| other.series() != version.series());
                    best.push((version, set));
                }
                best.iter().map(|(version, set)| format!("{version} ({set})")).collect()
            };
            let known = if near.is_empty() {
                newest(known.iter().collect())
            } else {
                near.iter().map(|(version, set)| format!("{version} ({set})")).collect()
            };
            RecipeError::UnknownVersion { source_name: name.to_owned(), version: wanted.to_owned(), known }
        }
        _ => {
            let sets = locks.iter().map(|lock| lock.set.as_str()).collect::<Vec<_>>().join(", ");
            RecipeError::UnknownSource { recipe: recipe.to_owned(), source_name: name.to_owned(), sets }
        }
    }
}
