//! Channels: what a tag means, and which tag the next release gets.

use serde::Deserialize;

/// Where the date of a tag goes.
const DATE: &str = "{date}";

/// A channel of releases.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Channel {
    /// Its name: `production`.
    pub name: String,
    /// Patterns of its tags; new tags are made of the first one with `{date}`, `*` at an end stands for anything.
    pub tags: Vec<String>,
    /// Its releases are not for everybody.
    #[serde(default)]
    pub prerelease: bool,
    /// Its tarballs must be signed.
    #[serde(default)]
    pub signed: bool,
    /// For how many days its releases are kept, where something expires them.
    #[serde(default)]
    pub keep_days: Option<u32>,
}

/// All channels, in the order in which a tag is looked for in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channels(Vec<Channel>);

/// The tag of the next release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextTag {
    /// It is free.
    New(String),
    /// This very commit has one of today already.
    Existing(String),
}

impl NextTag {
    /// Returns the tag.
    pub fn name(&self) -> &str {
        match self {
            Self::New(tag) | Self::Existing(tag) => tag,
        }
    }
}

impl Default for Channels {
    fn default() -> Self {
        let channel = |name: &str, tags: [&str; 2], prerelease, keep_days| Channel {
            name: name.to_owned(),
            tags: tags.map(str::to_owned).to_vec(),
            prerelease,
            signed: false,
            keep_days: Some(keep_days),
        };
        Self(vec![
            channel("production", ["release-{date}", "v*"], false, 365),
            channel("dev", ["dev-{date}", "dev-*"], true, 30),
        ])
    }
}

impl Channels {
    /// Takes channels if their patterns can be meant.
    ///
    /// # Errors
    /// Which one is wrong, by its number from 0, and why.
    pub fn new(channels: Vec<Channel>) -> Result<Self, (usize, String)> {
        for (index, channel) in channels.iter().enumerate() {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            if channel.name.is_empty() || !channel.name.bytes().all(plain) {
                return Err((index, format!("`{}` is no name of a channel", channel.name.escape_debug())));
            }
            if channels[..index].iter().any(|other| other.name == channel.name) {
                return Err((index, format!("`{}` for the second time", channel.name)));
            }
            if channel.tags.is_empty() {
                return Err((index, format!("`{}` has no tags", channel.name)));
            }
            for tag in &channel.tags {
                let rest = tag.replacen(DATE, "", 1);
                let rest = rest.strip_suffix('*').unwrap_or(&rest);
                if tag.starts_with(['*', '{', '.', '-']) || rest.is_empty() || !rest.bytes().all(plain) {
                    let reason =
                        "letters, digits, `.`, `_`, `-`, one {date} and a `*` at the end, after a beginning of its own";
                    return Err((index, format!("`{}` is no pattern of tags: {reason}", tag.escape_debug())));
                }
            }
        }
        Ok(Self(channels))
    }

    /// Returns the channel that a tag belongs to.
    pub fn of(&self, tag: &str) -> Option<&Channel> {
        is_tag(tag).then(|| self.0.iter().find(|channel| channel.tags.iter().any(|pattern| fits(pattern, tag))))?
    }

    /// Returns the channel of a name.
    pub fn named(&self, name: &str) -> Option<&Channel> {
        self.0.iter().find(|channel| channel.name == name)
    }

    /// Returns all of them.
    pub fn all(&self) -> &[Channel] {
        &self.0
    }
}

impl Channel {
    /// Returns the tag for a release of `commit` on `date` (`2026-11-26`): the one that it has of that day, or the first
    /// free one; a second one of a day ends in `.2`. `None` where no pattern has a date.
    ///
    /// `existing` are tags with the full names of the commits that they are on.
    pub fn next_tag(&self, date: &str, existing: &[(String, String)], commit: &str) -> Option<NextTag> {
        let pattern = self.tags.iter().find(|pattern| pattern.contains(DATE))?;
        let first = pattern.replace(DATE, date).trim_end_matches('*').to_owned();
        let of_day = |tag: &str| {
            tag == first || tag.strip_prefix(&first).and_then(|rest| rest.strip_prefix('.')).is_some_and(is_number)
        };
        if let Some((tag, _)) = existing.iter().filter(|(tag, _)| of_day(tag)).find(|(_, on)| on == commit) {
            return Some(NextTag::Existing(tag.clone()));
        }
        let candidates = std::iter::once(first.clone()).chain((2_u32..).map(|number| format!("{first}.{number}")));
        let free = |candidate: &String| existing.iter().all(|(tag, _)| tag != candidate);
        candidates.into_iter().find(free).map(NextTag::New)
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Tells whether a text is a tag that git, forges and registries all take.
fn is_tag(tag: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let ends = tag.starts_with(['.', '-']) || tag.ends_with('.') || tag.contains("..");
    // git-check-ref-format(1); distribution-spec spec.md#pulling-manifests.
    !tag.is_empty()
        && tag.len() <= 100
        && !ends
        && !tag.to_ascii_lowercase().ends_with(".lock")
        && tag.bytes().all(plain)
}

fn fits(pattern: &str, tag: &str) -> bool {
    let (pattern, open) = match pattern.strip_suffix('*') {
        Some(pattern) => (pattern, true),
        None => (pattern, false),
    };
    let Some((before, after)) = pattern.split_once(DATE) else {
        return if open { tag.starts_with(pattern) } else { tag == pattern };
    };
    let Some(rest) = tag.strip_prefix(before) else { return false };
    let Some((date, rest)) = rest.split_at_checked(10).filter(|(date, _)| is_date(date)) else { return false };
    let Some(rest) = rest.strip_prefix(after) else { return false };
    open || rest.is_empty() || rest.strip_prefix('.').is_some_and(is_number) && !date.is_empty()
}

fn is_date(text: &str) -> bool {
    text.parse::<jiff::civil::Date>().is_ok() && text.len() == 10
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel_of(tag: &str) -> Option<String> {
        Channels::default().of(tag).map(|channel| channel.name.clone())
    }

    #[test]
    fn a_tag_belongs_to_one_channel() {
        for (tag, name) in [
            ("release-2026-11-26", "production"),
            ("release-2026-11-26.2", "production"),
            ("v1.2.3", "production"),
            ("dev-2026-11-26", "dev"),
            ("dev-anything", "dev"),
        ] {
            assert_eq!(channel_of(tag).as_deref(), Some(name), "{tag}");
        }
        for tag in [
            "release-2026-13-26",
            "release-2026-11-26.x",
            "release-2026-11-26.",
            "release-1",
            "main",
            "",
            "v/../x",
            "v a",
            "v1.lock",
            "v1..2",
            "dev-ä",
        ] {
            assert_eq!(channel_of(tag), None, "{tag}");
        }
    }

    #[test]
    fn a_second_release_of_a_day_gets_a_suffix_and_the_same_commit_its_own_tag_again() {
        let channels = Channels::default();
        let production = channels.named("production").expect("there");
        let tag = |name: &str, on: &str| (name.to_owned(), on.to_owned());
        let next = |existing: &[(String, String)], commit| production.next_tag("2026-11-26", existing, commit);
        assert_eq!(next(&[], "a"), Some(NextTag::New("release-2026-11-26".to_owned())));
        let one = [tag("release-2026-11-26", "a"), tag("release-2026-11-25", "b")];
        assert_eq!(next(&one, "a"), Some(NextTag::Existing("release-2026-11-26".to_owned())));
        assert_eq!(next(&one, "b"), Some(NextTag::New("release-2026-11-26.2".to_owned())));
        let two = [&one[..], &[tag("release-2026-11-26.2", "b"), tag("release-2026-11-26.x", "c")]].concat();
        assert_eq!(next(&two, "b"), Some(NextTag::Existing("release-2026-11-26.2".to_owned())));
        assert_eq!(next(&two, "c"), Some(NextTag::New("release-2026-11-26.3".to_owned())));
        for made in ["release-2026-11-26", "release-2026-11-26.2"] {
            assert_eq!(channels.of(made), Some(production));
        }
    }

    #[test]
    fn channels_that_cannot_be_meant_are_refused() {
        let channel = |name: &str, tags: &[&str]| Channel {
            name: name.to_owned(),
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            prerelease: false,
            signed: false,
            keep_days: None,
        };
        for channels in [
            vec![channel("", &["v*"])],
            vec![channel("a", &[])],
            vec![channel("a", &["*"])],
            vec![channel("a", &["{date}"])],
            vec![channel("a", &["x{date}{date}"])],
            vec![channel("a", &["a b"])],
            vec![channel("a", &["v*x"])],
            vec![channel("a", &["v*"]), channel("a", &["w*"])],
        ] {
            assert!(Channels::new(channels.clone()).is_err(), "{channels:?}");
        }
        assert!(Channels::new(vec![channel("a", &["nightly-{date}", "nightly"])]).is_ok());
    }
}
