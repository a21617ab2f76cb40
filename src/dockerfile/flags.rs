//! `--name=value` words of an instruction (`instructions/bflag.go`).

use std::collections::BTreeMap;

use super::error::Fault;

/// What a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    /// Nothing, `true` or `false`.
    Bool,
    /// One value.
    One,
    /// A value each time it is given.
    Many,
}

/// The flags of one instruction.
#[derive(Debug, Clone, Default)]
pub(super) struct Flags {
    values: BTreeMap<&'static str, Vec<String>>,
}

impl Flags {
    pub(super) fn parse(keyword: &str, given: &[String], known: &[(&'static str, Takes)]) -> Result<Self, Fault> {
        let mut values = BTreeMap::<_, Vec<String>>::new();
        for word in given {
            let (name, value) = word.split_once('=').map_or((word.as_str(), None), |(name, value)| (name, Some(value)));
            let bare = name.trim_start_matches("--");
            let Some((key, takes)) = known.iter().find(|(known, _)| *known == bare).copied() else {
                let names: Vec<String> = known.iter().map(|(name, _)| format!("--{name}")).collect();
                let help = if names.is_empty() {
                    format!("{keyword} takes no flags")
                } else {
                    format!("flags of {keyword}: {}", names.join(", "))
                };
                return Err(Fault::new(format!("unknown flag `{name}`")).about(name).help(help));
            };
            if takes != Takes::Many && values.contains_key(key) {
                return Err(Fault::new(format!("flag `{name}` is given twice")).about(word.clone()));
            }
            let value = match (takes, value) {
                (Takes::Bool, None) => "true".to_owned(),
                (Takes::Bool, Some(text)) => match text.to_lowercase().as_str() {
                    word @ ("true" | "false") => word.to_owned(),
                    _ => {
                        return Err(
                            Fault::new(format!("flag `{name}` is true or false, not `{text}`")).about(word.clone())
                        );
                    }
                },
                (_, Some(value)) => value.to_owned(),
                (_, None) => {
                    return Err(Fault::new(format!("flag `{name}` has no value"))
                        .about(name)
                        .help(format!("write {name}=VALUE")));
                }
            };
            values.entry(key).or_default().push(value);
        }
        Ok(Self { values })
    }

    /// Returns the value of a flag; empty where it was not given.
    pub(super) fn one(&self, name: &str) -> String {
        self.many(name).into_iter().next().unwrap_or_default()
    }

    pub(super) fn many(&self, name: &str) -> Vec<String> {
        self.values.get(name).cloned().unwrap_or_default()
    }

    /// Returns whether a flag was set or unset.
    pub(super) fn given(&self, name: &str) -> Option<bool> {
        self.values.get(name).map(|values| values.iter().any(|value| value == "true"))
    }

    pub(super) fn is_true(&self, name: &str) -> bool {
        self.given(name) == Some(true)
    }
}
