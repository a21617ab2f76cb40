//! Whether registries answer: told, and never a fault of the machine.

use std::collections::BTreeSet;
use std::error::Error as _;
use std::time::Duration;

use super::facts::{Answer, Facts};
use super::finding::{Finding, State, finding};
use crate::registry::Registry;

/// The registry of names that name none.
const DEFAULT: &str = "docker.io";
/// How long a connection, and then an answer, is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks the default registry, and those that mirrors and exceptions are configured for.
pub(super) fn ask(registry: &Registry, others: &[String]) -> Vec<(String, Answer)> {
    let names: BTreeSet<&str> = others.iter().map(String::as_str).chain([DEFAULT]).collect();
    let mut answers = Vec::new();
    for name in names {
        match registry.reach(name, PATIENCE) {
            Ok(reached) => answers.extend(reached.into_iter().map(|(address, answer)| match answer {
                Ok(time) => (address, Answer::Reached(time)),
                Err(reason) => (address, Answer::Failed(reason)),
            })),
            Err(error) => {
                let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
                answers.push((name.to_owned(), Answer::Failed(format!("{error}{cause}"))));
            }
        }
    }
    answers
}

/// Judges their answers.
pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    const NAME: &str = "registry";
    let Some(registries) = &facts.registries else {
        return vec![finding(NAME, State::Ok, "not asked: --offline")];
    };
    let judged = registries.iter().map(|(address, answer)| match answer {
        Answer::Reached(time) => finding(NAME, State::Ok, format!("{address} answers in {} ms", time.as_millis())),
        Answer::Failed(reason) => finding(NAME, State::Degraded, format!("{address}: {reason}")).mend(
            "name a mirror with --registry-mirror docker.io=URL, set https_proxy, or give images as files with --oci-layout",
        ),
    });
    judged.collect()
}

#[cfg(test)]
mod tests {
    use super::super::facts::good;
    use super::*;

    #[test]
    fn registries_that_do_not_answer_are_told_and_stop_nothing() {
        let mut facts = good();
        facts.registries = Some(vec![
            ("https://one/v2/".to_owned(), Answer::Reached(Duration::from_millis(3))),
            ("https://two/v2/".to_owned(), Answer::Failed("refused".to_owned())),
        ]);
        let found = judge(&facts);
        assert_eq!((found[0].state, found[1].state), (State::Ok, State::Degraded));
        assert!(found[1].mend[0].contains("--registry-mirror") && !found[1].needed);
        facts.registries = None;
        assert!(judge(&facts)[0].detail.contains("--offline"));
    }
}
