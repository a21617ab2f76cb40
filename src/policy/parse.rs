//! The JSON of a policy, and the patterns in it (`policy.proto`, `sourcepolicy/formatter.go`, `util/wildcard`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use regex::Regex;
use serde::{Deserialize, Deserializer};

use super::PolicyError;

/// Bytes of a policy; generated ones that pin every image of a company have some hundred kilobytes.
const LARGEST: usize = 4 << 20;
/// Bytes of an identifier: an address, its path and its digest. Replacements grow with both sides, so both are bounded.
pub(super) const IDENTIFIER: usize = 4096;
/// Rules of a policy, each of which may hold a compiled expression.
const RULES: usize = 1 << 14;

/// One policy: rules in the order they are tried.
#[derive(Debug, Clone)]
pub struct Policy {
    pub(super) origin: PathBuf,
    pub(super) rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub(super) action: Action,
    pub(super) identifier: String,
    pub(super) pattern: Pattern,
    pub(super) constraints: Vec<Constraint>,
    pub(super) updates: Updates,
}

/// How an identifier that is not literally the selector's may still match.
#[derive(Debug, Clone)]
pub(super) enum Pattern {
    Exact,
    /// Anchored, every `*` a group.
    Wildcard(Regex),
    /// Not anchored.
    Expression(Regex),
}

#[derive(Debug, Clone)]
pub(super) struct Constraint {
    pub(super) key: String,
    pub(super) value: Condition,
}

#[derive(Debug, Clone)]
pub(super) enum Condition {
    Equal(String),
    NotEqual(String),
    Matches(Regex),
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Updates {
    #[serde(default)]
    pub(super) identifier: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) attrs: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    version: i64,
    #[serde(default, deserialize_with = "or_default")]
    rules: Vec<RuleText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleText {
    #[serde(default)]
    action: Action,
    selector: SelectorText,
    updates: Option<Updates>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SelectorText {
    #[serde(default)]
    identifier: String,
    /// `match_type` is what Go's encoder writes, `matchType` what the protocol's JSON mapping does.
    #[serde(default, alias = "match_type", rename = "matchType")]
    match_type: MatchType,
    #[serde(default, deserialize_with = "or_default")]
    constraints: Vec<ConstraintText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConstraintText {
    #[serde(default)]
    key: String,
    #[serde(default)]
    value: String,
    #[serde(default)]
    condition: AttrMatch,
}

/// Enumerations are words, or the numbers of the protocol file (`sourcepolicy/pb/json.go`).
macro_rules! words {
    ($name:ident: $first:ident = $first_word:literal $(, $rest:ident = $word:literal)*) => {
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub(super) enum $name {
            #[default]
            $first,
            $($rest),*
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let all = [(Self::$first, $first_word) $(, (Self::$rest, $word))*];
                let words = all.map(|(_, word)| word).join(", ");
                let found = match WordOrNumber::deserialize(deserializer)? {
                    WordOrNumber::Word(text) => all.iter().find(|(_, word)| *word == text),
                    WordOrNumber::Number(number) => usize::try_from(number).ok().and_then(|number| all.get(number)),
                };
                let unknown = || serde::de::Error::custom(format!("{} is one of {words}", stringify!($name)));
                found.map(|(value, _)| *value).ok_or_else(unknown)
            }
        }
    };
}

words!(Action: Allow = "ALLOW", Deny = "DENY", Convert = "CONVERT");
words!(MatchType: Wildcard = "WILDCARD", Exact = "EXACT", Regex = "REGEX");
words!(AttrMatch: Equal = "EQUAL", NotEqual = "NOTEQUAL", Matches = "MATCHES");

#[derive(Deserialize)]
#[serde(untagged)]
enum WordOrNumber {
    Word(String),
    Number(i64),
}

/// Go takes `null` for an empty list or map.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl Policy {
    /// Reads the JSON form; `origin` is what messages call it.
    pub fn parse(json: &str, origin: &Path) -> Result<Self, PolicyError> {
        let origin = origin.to_path_buf();
        if json.len() > LARGEST {
            return Err(PolicyError::TooLarge { origin, what: "bytes", limit: LARGEST });
        }
        // An empty list would be read as a policy without rules, which lets everything pass.
        if !json.trim_start().starts_with('{') {
            let source = serde::de::Error::custom("a policy is an object with `rules`");
            return Err(PolicyError::Syntax { origin, source });
        }
        let file: File =
            serde_json::from_str(json).map_err(|source| PolicyError::Syntax { origin: origin.clone(), source })?;
        if !matches!(file.version, 0 | 1) {
            return Err(PolicyError::Version { origin, version: file.version });
        }
        if file.rules.len() > RULES {
            return Err(PolicyError::TooLarge { origin, what: "rules", limit: RULES });
        }
        let rules = file.rules.into_iter().enumerate();
        let rules = rules.map(|(i, text)| rule(text, i + 1, &origin)).collect::<Result<_, _>>()?;
        Ok(Self { origin, rules })
    }
}

fn rule(text: RuleText, rule: usize, origin: &Path) -> Result<Rule, PolicyError> {
    let expression = |pattern: &str| {
        let failed = |source| PolicyError::Expression {
            origin: origin.to_path_buf(),
            rule,
            pattern: pattern.to_owned(),
            source,
        };
        Regex::new(pattern).map_err(failed)
    };
    if text.action == Action::Convert && text.updates.is_none() {
        return Err(PolicyError::NoUpdates { origin: origin.to_path_buf(), rule });
    }
    if text.updates.as_ref().is_some_and(|updates| updates.identifier.len() > IDENTIFIER) {
        let what = "bytes in an `updates.identifier`";
        return Err(PolicyError::TooLarge { origin: origin.to_path_buf(), what, limit: IDENTIFIER });
    }
    let identifier = text.selector.identifier;
    let pattern = match text.selector.match_type {
        MatchType::Exact => Pattern::Exact,
        MatchType::Regex => Pattern::Expression(expression(&identifier)?),
        MatchType::Wildcard if identifier.contains("**") => {
            return Err(PolicyError::Wildcard { origin: origin.to_path_buf(), rule, pattern: identifier });
        }
        MatchType::Wildcard => {
            let parts: Vec<String> = identifier.split('*').map(regex::escape).collect();
            Pattern::Wildcard(expression(&format!("^{}$", parts.join("(.*)")))?)
        }
    };
    let constraint = |constraint: ConstraintText| {
        let value = match constraint.condition {
            AttrMatch::Equal => Condition::Equal(constraint.value),
            AttrMatch::NotEqual => Condition::NotEqual(constraint.value),
            AttrMatch::Matches => Condition::Matches(expression(&constraint.value)?),
        };
        Ok(Constraint { key: constraint.key, value })
    };
    let constraints = text.selector.constraints.into_iter().map(constraint).collect::<Result<_, PolicyError>>()?;
    let updates = text.updates.unwrap_or_default();
    Ok(Rule { action: text.action, identifier, pattern, constraints, updates })
}
