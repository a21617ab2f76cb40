//! `dockless verify`.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::command::println;
use super::failure::Failure;
use super::forge::now;
use super::progress::clean;
use super::table::{Align, Table};
use crate::sign::{Believed, Bundles};
use crate::verify::{self, Asked, Outcome, Verdict};

pub(super) const EXAMPLES: &str = "Examples:
  dockless verify dist --key release-key.asc --require-signature
  dockless verify release-3.12-x86_64.tar.gz --key release-key.asc
  dockless verify dist --keyring=0123456789ABCDEF0123456789ABCDEF01234567 --json
  dockless verify dist/release-3.12-x86_64.tar.gz --rebuild

Checks sums, signatures, provenance and bills of materials against the tarballs; offline, nothing of them is run.
Exit codes: 0 all that is there holds, 1 something does not hold, 2 it is no release, 3 this machine cannot check it.
docs/verifying.md says what each check means.";

/// Arguments of `verify`.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// What `dockless release` made, or one tarball with what lies beside it
    #[arg(value_name = "DIR|TARBALL", default_value = "dist")]
    pub(super) subject: PathBuf,
    /// Believe signatures of the OpenPGP keys in this file, and no others; may be repeated
    #[arg(long, value_name = "FILE", conflicts_with = "keyring")]
    key: Vec<PathBuf>,
    /// Believe signatures of this key of your keyring; without one, of all keys in it that you trust
    #[arg(long, value_name = "FINGERPRINT", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    keyring: Option<String>,
    /// Believe sigstore bundles of this public key
    #[arg(long, value_name = "KEY", conflicts_with = "cosign_identity")]
    cosign_key: Option<String>,
    /// Believe sigstore bundles of this identity, such as the address of a workflow
    #[arg(long, value_name = "IDENTITY", requires = "cosign_issuer")]
    cosign_identity: Option<String>,
    /// Who confirmed the identity
    #[arg(long, value_name = "URL", requires = "cosign_identity")]
    cosign_issuer: Option<String>,
    /// Fail where a tarball or SHA256SUMS is not signed by somebody believed
    #[arg(long)]
    require_signature: bool,
    /// Print the verdict as JSON
    #[arg(long)]
    pub(super) json: bool,
    /// Build again what the provenance says, with this checkout, and compare the bytes
    #[arg(long)]
    pub(super) rebuild: bool,
    #[command(flatten)]
    pub(super) limits: super::limit::LimitArgs,
}

/// Verifies what was asked for.
pub(super) fn verdict(args: &Verify) -> Result<Verdict, Failure> {
    let asked = args.asked()?;
    Ok(if args.subject.is_dir() {
        verify::directory(&args.subject, &asked)?
    } else {
        verify::tarball(&args.subject, &asked)?
    })
}

/// Prints a verdict; the exit code says whether it holds.
pub(super) fn show(args: &Verify, verdict: &Verdict) -> Result<ExitCode, Failure> {
    if args.json {
        let rows = serde_json::to_value(&verdict.rows).expect("rows are JSON");
        let document = serde_json::json!({ "format": 1, "holds": verdict.holds(), "checks": rows });
        println(&serde_json::to_string_pretty(&document).expect("values are JSON"))?;
    } else {
        println(&render(verdict))?;
    }
    Ok(if verdict.holds() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn render(verdict: &Verdict) -> String {
    let mut table = Table::new(&[("file", Align::Left), ("check", Align::Left), ("", Align::Left), ("", Align::Left)]);
    for row in &verdict.rows {
        let outcome = row.outcome.to_string();
        // Names and reasons may be of whoever changed the release.
        table.row([clean(row.file.as_bytes()), row.check.to_owned(), outcome, clean(row.detail.as_bytes())]);
    }
    let word = if verdict.holds() { "it holds" } else { "IT DOES NOT HOLD" };
    let mut sum =
        format!("{word}: {} passed, {} failed", verdict.count(Outcome::Passed), verdict.count(Outcome::Failed));
    for (outcome, what) in [(Outcome::Missing, "missing"), (Outcome::Unchecked, "unchecked")] {
        match verdict.count(outcome) {
            0 => {}
            // Writing to a String cannot fail.
            count => _ = write!(sum, ", {count} {what}"),
        }
    }
    format!("{}{sum}", table.render(None))
}

impl Verify {
    fn asked(&self) -> Result<Asked, Failure> {
        let refused = |message: &str| Failure::Usage { message: message.to_owned() };
        let believed = match &self.keyring {
            Some(id) if id.is_empty() => Some(Believed::Keyring(None)),
            Some(id) => Some(Believed::Keyring(Some(fingerprint(id)?))),
            None if self.key.is_empty() => None,
            None => Some(Believed::Files(self.key.clone())),
        };
        let identity = self.cosign_identity.clone().zip(self.cosign_issuer.clone());
        let identity = identity.map(|(identity, issuer)| Bundles::Identity { identity, issuer });
        let bundles = self.cosign_key.clone().map(Bundles::Key).or(identity);
        if self.require_signature && believed.is_none() && bundles.is_none() {
            return Err(refused("--require-signature: by whom? write --key FILE, --keyring or --cosign-key KEY"));
        }
        Ok(Asked { believed, bundles, require_signature: self.require_signature, now: now() })
    }
}

/// Short names of keys can be forged: only a whole fingerprint means one key.
fn fingerprint(text: &str) -> Result<String, Failure> {
    let plain: String = text.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_ascii_uppercase();
    let plain = plain.strip_prefix("0X").map(str::to_owned).unwrap_or(plain);
    if matches!(plain.len(), 40 | 64) && plain.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(plain);
    }
    let message = format!("`{text}` is no whole fingerprint, 40 or 64 hexadecimal digits: short names can be forged");
    Err(Failure::Usage { message })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_fingerprints_name_a_key() {
        let whole = "a832 b70c 4589 7cc2 0c3e 901b 2b58 0c7c 7c57 9436";
        assert_eq!(fingerprint(whole).ok().as_deref(), Some("A832B70C45897CC20C3E901B2B580C7C7C579436"));
        for text in ["", "7C579436", "0x2B580C7C7C579436", "r@example.org"] {
            assert!(fingerprint(text).is_err(), "{text}");
        }
    }
}
