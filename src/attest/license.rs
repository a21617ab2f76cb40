//! Licences as SPDX expressions (`spdx-spec SPDX-license-expressions.md`).

use std::collections::{BTreeMap, BTreeSet};

use spdx::{Expression, LicenseItem, ParseMode};

use crate::oci::Digest;

/// What is known of a licence.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct License {
    /// An expression; `None` is `NOASSERTION`.
    pub expression: Option<String>,
    /// What the `LicenseRef-…` in the expression stand for.
    pub texts: BTreeMap<String, String>,
}

/// Identifiers of the list as it is, including those that were replaced; no nicknames, which would be guesses.
const MODE: ParseMode = ParseMode { allow_deprecated: true, allow_postfix_plus_on_gpl: true, ..ParseMode::STRICT };

/// Bytes of a declaration that is read as an expression.
const LONGEST: usize = 1024;
/// Bytes of a text that are quoted.
const QUOTED: usize = 16 << 10;
/// Characters of the name of a `LicenseRef-…` that are taken from its text.
const NAME: usize = 48;

impl License {
    /// Reads what somebody declared: an expression, or any text, which is then quoted.
    pub fn of(declared: &str) -> Self {
        let text = declared.trim();
        if matches!(text, "" | "UNKNOWN" | "NOASSERTION" | "NONE") {
            return Self::default();
        }
        if let Some(license) = Self::expression(text).or_else(|| Self::partly(text)) {
            return license;
        }
        let reference = reference(text);
        Self { expression: Some(reference.clone()), texts: [(reference, quoted(text))].into() }
    }

    /// Returns what holds for a whole of which all of `parts` are: unknown as soon as one of them is.
    pub fn all<'a>(parts: impl IntoIterator<Item = &'a Self>) -> Self {
        let (mut expressions, mut texts) = (BTreeSet::new(), BTreeMap::new());
        for part in parts {
            let Some(expression) = &part.expression else { return Self::default() };
            expressions.insert(expression.as_str());
            texts.extend(part.texts.clone());
        }
        let alone = expressions.len() == 1;
        let bracketed = |expression: &str| match expression {
            compound if compound.contains(' ') && !alone => format!("({compound})"),
            simple => simple.to_owned(),
        };
        let all: Vec<String> = expressions.into_iter().map(bracketed).collect();
        Self { expression: (!all.is_empty()).then(|| all.join(" AND ")), texts }
    }

    /// Reads an expression some of whose words are of the list and the others names that somebody gave (`MIT AND custom`).
    fn partly(text: &str) -> Option<Self> {
        if text.len() > LONGEST || !words(text).any(|word| spdx::license_id(word).is_some()) {
            return None;
        }
        let mut texts = BTreeMap::new();
        let mut quoted = |word: &str| {
            let known = matches!(word.to_ascii_uppercase().as_str(), "AND" | "OR" | "WITH" | "(" | ")");
            if known || Self::expression(word).is_some() || spdx::exception_id(word).is_some() {
                return word.to_owned();
            }
            let reference = reference(word);
            texts.insert(reference.clone(), word.to_owned());
            reference
        };
        let whole: Vec<String> = words(text).map(&mut quoted).collect();
        let license = Self::expression(&whole.join(" ").replace("( ", "(").replace(" )", ")"))?;
        let mut all = license.texts;
        all.extend(texts);
        Some(Self { texts: all, ..license })
    }

    /// Reads an expression of the list.
    fn expression(text: &str) -> Option<Self> {
        if text.len() > LONGEST {
            return None;
        }
        let parsed = Expression::parse_mode(text, MODE).ok()?;
        let mut texts = BTreeMap::new();
        for requirement in parsed.requirements() {
            match &requirement.req.license {
                LicenseItem::Spdx { .. } => {}
                LicenseItem::Other(other) if other.doc_ref.is_none() => {
                    let name = format!("LicenseRef-{}", other.lic_ref);
                    let text = format!("the package declares {name} and does not say here what it is");
                    texts.insert(name, text);
                }
                // It would point into a document that nobody has.
                LicenseItem::Other(_) => return None,
            }
            if requirement.req.addition.as_ref().is_some_and(|addition| addition.id().is_none()) {
                return None;
            }
        }
        // Operators are upper-case for every reader but some.
        let words = text.split_whitespace().map(|word| match word.to_ascii_uppercase().as_str() {
            operator @ ("AND" | "OR" | "WITH") => operator.to_owned(),
            _ => word.to_owned(),
        });
        Some(Self { expression: Some(words.collect::<Vec<_>>().join(" ")), texts })
    }
}

/// Returns a text as it is quoted: no longer than anybody reads, since it may be anything.
fn quoted(text: &str) -> String {
    match text.char_indices().find(|(at, _)| *at >= QUOTED) {
        Some((end, _)) => format!("{}\n[…]", &text[..end]),
        None => text.to_owned(),
    }
}

/// Splits an expression into words and brackets.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(['(', ')']).flat_map(|part| {
        let (word, bracket) = part.split_at(part.len() - usize::from(part.ends_with(['(', ')'])));
        word.split_whitespace().chain((!bracket.is_empty()).then_some(bracket))
    })
}

/// Names a text: letters, digits, `.` and `-` of it, and its digest, so that two texts never share a name.
fn reference(text: &str) -> String {
    let mut name = String::new();
    for c in text.chars().take(NAME) {
        match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '.' => name.push(c),
            _ if name.ends_with('-') => {}
            _ => name.push('-'),
        }
    }
    format!("LicenseRef-{}-{}", name.trim_matches('-'), Digest::of(text.as_bytes()).short()).replace("--", "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_stay_and_everything_else_is_quoted() {
        for text in ["MIT", "BSD-3-Clause OR GPL-2.0-only", "GPL-2.0+", "Apache-2.0 WITH LLVM-exception", "blessing"] {
            assert_eq!(License::of(text), License { expression: Some(text.to_owned()), texts: BTreeMap::new() });
        }
        assert_eq!(License::of("MIT and (Zlib or X11)").expression.as_deref(), Some("MIT AND (Zlib OR X11)"));
        for text in ["", "  ", "UNKNOWN", "NOASSERTION"] {
            assert_eq!(License::of(text), License::default());
        }
        for text in ["BSD", "custom:any", "MIT License", "MIT AND", "((MIT", "DocumentRef-a:LicenseRef-b", "é\n\u{7}"]
        {
            let license = License::of(text);
            let name = license.expression.expect("quoted");
            assert!(name.starts_with("LicenseRef-") && !name.contains("--"), "{name}");
            assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b)), "{name}");
            assert_eq!(license.texts, [(name, text.trim().to_owned())].into());
        }
        let partly = License::of("(MIT OR own+) and LicenseRef-mine");
        assert!(
            partly.expression.is_some_and(
                |text| text.starts_with("(MIT OR LicenseRef-own-") && text.ends_with(") AND LicenseRef-mine")
            )
        );
        assert_eq!(partly.texts.values().next_back().map(String::as_str), Some("own+"));
        assert_ne!(License::of("My licence").expression, License::of("My-licence").expression);
        assert_eq!(License::of("LicenseRef-x OR MIT").texts.keys().collect::<Vec<_>>(), ["LicenseRef-x"]);
    }

    #[test]
    fn a_whole_has_all_licences_of_its_parts_or_none_is_known() {
        let [mit, either, none] = ["MIT", "X11 OR Zlib", ""].map(License::of);
        assert_eq!(License::all([&mit, &either, &mit]).expression.as_deref(), Some("MIT AND (X11 OR Zlib)"));
        assert_eq!(License::all([&either]).expression.as_deref(), Some("X11 OR Zlib"));
        assert_eq!(License::all([&mit, &none]), License::default());
        assert_eq!(License::all([]), License::default());
    }
}
