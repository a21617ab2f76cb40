//! What rules make of a source (`sourcepolicy/engine.go`, `matcher.go`, `mutate.go`).

use super::PolicyError;
use super::parse::{Action, Condition, IDENTIFIER, Pattern, Policy, Rule};
use crate::llb::pb::SourceOp;

/// Conversions of one source; BuildKit gives up at the same one (`engine.go maxIterr`).
const CONVERSIONS: usize = 20;
/// Policies in the order they are asked.
#[derive(Debug, Clone, Default)]
pub struct Policies(Vec<Policy>);

impl Policies {
    /// Policies are asked in this order; no policy lets everything pass.
    pub const fn new(policies: Vec<Policy>) -> Self {
        Self(policies)
    }

    /// Returns what a source becomes: `None` when it stays as it is, an error when a policy denies it.
    pub fn evaluate(&self, source: &SourceOp) -> Result<Option<SourceOp>, PolicyError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let mut current = source.clone();
        let mut conversions = 0;
        loop {
            // `${1}${1}` doubles an identifier with every conversion.
            if current.identifier.len() > IDENTIFIER {
                let start = current.identifier.chars().take(80).collect();
                return Err(PolicyError::TooLong { start, limit: IDENTIFIER });
            }
            let Some(next) = self.round(&current)? else { break };
            conversions += 1;
            if conversions > CONVERSIONS {
                let (identifier, last) = (source.identifier.clone(), next.identifier);
                return Err(PolicyError::Circle { identifier, last, limit: CONVERSIONS });
            }
            current = next;
        }
        Ok((conversions > 0).then_some(current))
    }

    /// Asks every policy once, up to the first conversion.
    fn round(&self, source: &SourceOp) -> Result<Option<SourceOp>, PolicyError> {
        for policy in &self.0 {
            if let Some(converted) = policy.ask(source)? {
                return Ok(Some(converted));
            }
        }
        Ok(None)
    }
}

impl Policy {
    fn ask(&self, source: &SourceOp) -> Result<Option<SourceOp>, PolicyError> {
        let mut denied = None;
        for (at, rule) in self.rules.iter().enumerate().filter(|(_, rule)| rule.matches(source)) {
            match rule.action {
                Action::Allow => denied = None,
                Action::Deny => denied = Some(at + 1),
                Action::Convert => match rule.convert(source) {
                    converted if converted == *source => {}
                    converted => return Ok(Some(converted)),
                },
            }
        }
        match denied {
            None => Ok(None),
            Some(rule) => {
                let identifier = source.identifier.clone();
                Err(PolicyError::Denied { identifier, origin: self.origin.clone(), rule })
            }
        }
    }
}

impl Rule {
    /// Tells whether this rule is about a source. An attribute that is not there is empty.
    fn matches(&self, source: &SourceOp) -> bool {
        let held = self.constraints.iter().all(|constraint| {
            let value = source.attrs.get(&constraint.key).map(String::as_str).unwrap_or_default();
            match &constraint.value {
                Condition::Equal(wanted) => value == wanted,
                Condition::NotEqual(unwanted) => value != unwanted,
                Condition::Matches(expression) => expression.is_match(value),
            }
        });
        let identifier = source.identifier.as_str();
        held && (self.identifier == identifier
            || match &self.pattern {
                Pattern::Exact => false,
                Pattern::Wildcard(expression) | Pattern::Expression(expression) => expression.is_match(identifier),
            })
    }

    fn convert(&self, source: &SourceOp) -> SourceOp {
        let mut converted = source.clone();
        let template = self.updates.identifier.as_str();
        if !template.is_empty() {
            let identifier = match &self.pattern {
                Pattern::Exact => template.to_owned(),
                Pattern::Wildcard(expression) | Pattern::Expression(expression) => {
                    expression.replace_all(&source.identifier, template).into_owned()
                }
            };
            if !identifier.is_empty() {
                converted.identifier = identifier;
            }
        }
        converted.attrs.extend(self.updates.attrs.iter().map(|(key, value)| (key.clone(), value.clone())));
        converted
    }
}
