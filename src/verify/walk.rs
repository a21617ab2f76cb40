//! The walk through a release.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::contents::{self, Contents};
use super::error::VerifyError;
use super::provenance::{self, Claim};
use super::sbom;
use super::verdict::{Outcome, Verdict};
use crate::dist::{self, Dist, DistError, SUMS, variant_of};
use crate::oci::{Arch, Digest};
use crate::sign::{Believed, Bundles, Checker, Cosign};

/// Bytes of a document; ours have some hundred thousand.
const MOST: u64 = 64 << 20;

/// Whom to believe, and what must be there.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// Whose OpenPGP signatures; `None` leaves them unchecked.
    pub believed: Option<Believed>,
    /// Whose sigstore bundles; `None` leaves them unchecked.
    pub bundles: Option<Bundles>,
    /// Fail where a tarball or `SHA256SUMS` has no signature of somebody believed.
    pub require_signature: bool,
    /// This machine's time, seconds since 1970.
    pub now: i64,
}

struct Walk<'a> {
    asked: &'a Asked,
    checker: Option<Checker>,
    cosign: Option<Cosign>,
    verdict: Verdict,
}

/// Verifies a release directory: sums, signatures, and every document against its tarball. Nothing of it is run, and the
/// network is not used.
///
/// # Errors
/// All of [`VerifyError`], where there is nothing to judge; what does not hold is in the verdict.
pub fn directory(root: &Path, asked: &Asked) -> Result<Verdict, VerifyError> {
    let mut walk = Walk::new(asked)?;
    let dist = match Dist::open(root) {
        Ok(dist) => dist,
        Err(error) => {
            walk.broken(root, error)?;
            return Ok(walk.verdict);
        }
    };
    let detail = format!("{} files have the bytes that it says", dist.sums().len());
    walk.verdict.add(SUMS, "sum", Outcome::Passed, detail);
    walk.signatures(&root.join(SUMS))?;
    let commit = dist.description().and_then(|it| it.commit.as_deref());
    for (asset, version, arch) in dist.tarballs() {
        walk.signatures(&dist.path(asset))?;
        let claim = walk.documents(&dist.path(asset), &asset.digest, Some(&(version, arch)))?;
        if let (Some(said), Some((commit, _))) = (commit, claim.and_then(|it| it.commit))
            && said != commit
        {
            let detail = format!("release.json says commit {said}, its provenance {commit}");
            walk.verdict.add(&asset.name, "provenance", Outcome::Failed, detail);
        }
    }
    Ok(walk.verdict)
}

/// Verifies one tarball by what lies beside it.
///
/// # Errors
/// As [`directory`].
pub fn tarball(path: &Path, asked: &Asked) -> Result<Verdict, VerifyError> {
    let mut walk = Walk::new(asked)?;
    let name = file_name(path);
    let (digest, _) = dist::hash(path)?;
    let sums = path.with_file_name(SUMS);
    let mut promised = Vec::new();
    for list in [beside(path, &format!("{name}.sha256")), sums.clone()].into_iter().filter(|list| list.exists()) {
        let text = read(&list)?;
        let by = file_name(&list);
        match dist::parse(&text) {
            Ok(sums) => promised.extend(sums.get(&name).map(|sum| (by, *sum))),
            Err((line, reason)) => walk.verdict.add(&by, "sum", Outcome::Failed, format!("line {line}: {reason}")),
        }
    }
    for (by, sum) in &promised {
        let wrong = format!("it is {digest} but {by} says {sum}");
        walk.verdict.judge(&name, "sum", &if *sum == digest { Vec::new() } else { vec![wrong] }, by);
    }
    if promised.is_empty() {
        walk.verdict.add(
            &name,
            "sum",
            Outcome::Missing,
            format!("{digest}; neither {name}.sha256 nor {SUMS} names it"),
        );
    }
    walk.signatures(path)?;
    if promised.iter().any(|(by, _)| by == SUMS) {
        walk.signatures_if_any(&sums)?;
    }
    let named = variant_of(&stem(&name));
    walk.documents(path, &digest, named.as_ref())?;
    Ok(walk.verdict)
}

/// Returns what the provenance beside a tarball says of how it was made.
///
/// # Errors
/// `NoRecipe`, `Dist`, `Io`.
pub fn claim(tarball: &Path) -> Result<Claim, VerifyError> {
    let (digest, _) = dist::hash(tarball)?;
    let path = document(tarball, "intoto.jsonl");
    let refused = |why: String| VerifyError::NoRecipe { path: tarball.to_owned(), why };
    if !path.exists() {
        return Err(refused(format!("there is no `{}`", path.display())));
    }
    provenance::read(&read(&path)?, &digest).map_err(refused)
}

impl<'a> Walk<'a> {
    /// Whom to believe is looked up first: without it nothing else is of interest.
    fn new(asked: &'a Asked) -> Result<Self, VerifyError> {
        let checker = asked.believed.as_ref().map(|believed| Checker::open(believed, asked.now)).transpose()?;
        let cosign = asked.bundles.as_ref().map(|_| Cosign::installed()).transpose()?;
        Ok(Self { asked, checker, cosign, verdict: Verdict::default() })
    }

    /// Tells what is wrong with a directory, all of it where sums tell.
    fn broken(&mut self, root: &Path, error: DistError) -> Result<(), VerifyError> {
        let mut add = |file: &str, detail: String| self.verdict.add(file, "sum", Outcome::Failed, detail);
        match &error {
            DistError::Io { .. } | DistError::NoSums { .. } | DistError::Empty { .. } | DistError::Name { .. } => {
                return Err(error.into());
            }
            DistError::Tampered { by, .. } if by == SUMS => {}
            DistError::Missing { by: SUMS, .. } => {}
            _ => add(SUMS, error.to_string()),
        }
        let sums = dist::parse(&read(&root.join(SUMS))?).unwrap_or_default();
        for (name, expected) in sums {
            match dist::hash(&root.join(&name)) {
                Ok((actual, _)) if actual == expected => {}
                Ok((actual, _)) => add(&name, format!("it is {actual} but {SUMS} says {expected}")),
                Err(_) => add(&name, format!("{SUMS} names it, but it is not there as a file")),
            }
        }
        Ok(())
    }

    fn signatures_if_any(&mut self, file: &Path) -> Result<(), VerifyError> {
        let (signature, bundle) = (suffixed(file, ".asc"), suffixed(file, ".sigstore.json"));
        if signature.exists() || bundle.exists() { self.signatures(file) } else { Ok(()) }
    }

    /// Checks who vouches for a file.
    fn signatures(&mut self, file: &Path) -> Result<(), VerifyError> {
        let name = file_name(file);
        let (signature, bundle) = (suffixed(file, ".asc"), suffixed(file, ".sigstore.json"));
        let mut vouched = false;
        let mut seen = false;
        if signature.exists() {
            seen = true;
            match &self.checker {
                None => {
                    let detail = "signed, but nobody said whom to believe: --key FILE";
                    self.verdict.add(&name, "openpgp", Outcome::Unchecked, detail);
                }
                Some(checker) => match checker.check(&signature, file)? {
                    Ok(signed) => {
                        vouched = true;
                        let day = signed.day();
                        let detail = format!("signed on {day} by {} {}", signed.fingerprint, signed.user);
                        self.verdict.add(&name, "openpgp", Outcome::Passed, detail);
                    }
                    Err(doubt) => self.verdict.add(&name, "openpgp", Outcome::Failed, doubt.to_string()),
                },
            }
        }
        if bundle.exists() {
            seen = true;
            if let (Some(cosign), Some(bundles)) = (&self.cosign, &self.asked.bundles) {
                match cosign.check(&bundle, file, bundles)? {
                    Ok(()) => {
                        vouched = true;
                        self.verdict.add(&name, "sigstore", Outcome::Passed, bundles.to_string());
                    }
                    Err(said) => self.verdict.add(&name, "sigstore", Outcome::Failed, said),
                }
            } else {
                let detail = "signed, but nobody said whom to believe: --cosign-key FILE, --cosign-identity …";
                self.verdict.add(&name, "sigstore", Outcome::Unchecked, detail);
            }
        }
        if !vouched && self.asked.require_signature {
            let detail = if seen { "no signature of whom you believe" } else { "not signed" };
            self.verdict.add(&name, "signature", Outcome::Failed, detail);
        } else if !seen {
            self.verdict.add(&name, "signature", Outcome::Missing, "not signed");
        }
        Ok(())
    }

    /// Checks the tree and every document that is beside a tarball.
    fn documents(
        &mut self,
        tarball: &Path,
        digest: &Digest,
        named: Option<&(String, Arch)>,
    ) -> Result<Option<Claim>, VerifyError> {
        let name = file_name(tarball);
        let contents = contents::read(tarball)?;
        let fine = format!("{} entries", contents.paths.len());
        self.verdict.judge(&name, "tree", &contents.faults(), fine);
        for (check, ending) in [("spdx", "spdx.json"), ("cyclonedx", "cdx.json")] {
            let path = document(tarball, ending);
            if !path.exists() {
                self.verdict.add(&file_name(&path), check, Outcome::Missing, "no such document");
                continue;
            }
            let text = read(&path)?;
            let parsed = if check == "spdx" { sbom::spdx(&text) } else { sbom::cyclonedx(&text) };
            let (wrong, count) = match parsed {
                Ok(listed) => (listed.against(&contents, digest), listed.len()),
                Err(why) => (vec![why], 0),
            };
            self.verdict.judge(&file_name(&path), check, &wrong, format!("{count} components, all in the tarball"));
        }
        self.claim(tarball, digest, &contents, named)
    }

    fn claim(
        &mut self,
        tarball: &Path,
        digest: &Digest,
        contents: &Contents,
        named: Option<&(String, Arch)>,
    ) -> Result<Option<Claim>, VerifyError> {
        let path = document(tarball, "intoto.jsonl");
        let file = file_name(&path);
        if !path.exists() {
            self.verdict.add(&file, "provenance", Outcome::Missing, "no such document");
            return Ok(None);
        }
        match provenance::read(&read(&path)?, digest) {
            Ok(claim) => {
                self.verdict.judge(&file, "provenance", &claim.against(contents, named), claim.said());
                Ok(Some(claim))
            }
            Err(why) => {
                self.verdict.add(&file, "provenance", Outcome::Failed, why);
                Ok(None)
            }
        }
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn beside(path: &Path, name: &str) -> PathBuf {
    path.with_file_name(name)
}

fn suffixed(path: &Path, ending: &str) -> PathBuf {
    beside(path, &format!("{}{ending}", file_name(path)))
}

/// `x.tar.gz`, `x.tgz` and `x.tar` are all `x`.
fn stem(name: &str) -> String {
    [".tar.gz", ".tgz", ".tar"].iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name).to_owned()
}

fn document(tarball: &Path, ending: &str) -> PathBuf {
    beside(tarball, &format!("{}.{ending}", stem(&file_name(tarball))))
}

/// Reads a document.
fn read(path: &Path) -> Result<String, VerifyError> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(VerifyError::io("open", path))?;
    file.take(MOST).read_to_end(&mut bytes).map_err(VerifyError::io("read", path))?;
    // What is not UTF-8 is no document, and told as such.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Adds the outcome of a build again to a verdict: what differs, or that nothing does.
pub fn rebuilt(
    verdict: &mut Verdict,
    tarball: &Path,
    digests: (&Digest, &Digest),
    differences: &BTreeMap<String, String>,
) {
    let (name, (there, again)) = (file_name(tarball), digests);
    if there == again {
        return verdict.add(&name, "rebuild", Outcome::Passed, format!("built again it is {again}"));
    }
    let detail = format!("built again it is {again}, not {there}: {} entries differ", differences.len());
    verdict.add(&name, "rebuild", Outcome::Failed, detail);
    for (path, what) in differences.iter().take(SHOWN) {
        verdict.add(path, "rebuild", Outcome::Failed, what.clone());
    }
    if differences.is_empty() {
        verdict.add(
            &name,
            "rebuild",
            Outcome::Failed,
            "the trees are equal: only the archive or its compression differs",
        );
    }
}

/// Differences that are listed.
const SHOWN: usize = 20;
