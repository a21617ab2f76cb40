//! `dockless verify --rebuild`: a tarball is built again as its provenance says, and compared byte by byte.

use std::path::{Path, PathBuf};

use super::command::requests;
use super::failure::Failure;
use super::progress::View;
use super::report::{Exit, Report};
use super::session::{Inside, Session};
use super::tag::checkout;
use super::verify::Verify;
use crate::attest;
use crate::build::{Corridor, Project};
use crate::dist::{self, Dist};
use crate::progress::{Event, Progress};
use crate::release;
use crate::verify::{self, Claim, Verdict};

/// Builds every tarball again and adds to the verdict what came out. What this checkout is not is told before anything is
/// built.
pub(super) fn rebuild(
    session: &Session<'_>,
    args: &Verify,
    inside: Inside,
    verdict: &mut Verdict,
    view: &View,
) -> Result<(), Failure> {
    let root = session.project_root()?;
    let mut work = Vec::new();
    for tarball in tarballs(&args.subject)? {
        let claim = verify::claim(&tarball)?;
        let project = Project::open(&root, &sets(&session.global.sources, &claim.sources))?;
        compare_checkout(&project, &claim, view)?;
        work.push((tarball, claim, project));
    }
    if !session.global.no_cache {
        let message = "what this store holds is taken from it: --no-cache builds all of it again";
        view.event(&Event::Note { message });
    }
    let mut engine = session.engine(inside)?;
    args.limits.apply(&mut engine)?;
    for (tarball, claim, project) in &work {
        let corridor = Corridor { project, engine: &engine, profile: claim.profile, epoch: claim.epoch };
        let requests = requests(&claim.recipes)?;
        compare_inputs(project, &corridor, claim, view)?;
        let built = corridor.build(&requests, claim.arch, view)?;
        let again = release::package(&engine.store, &built.solved.snapshot, claim.epoch)?;
        let (digest, _) = dist::hash(tarball).map_err(verify::VerifyError::from)?;
        let differences = if digest == again.digest {
            std::collections::BTreeMap::new()
        } else {
            verify::differences(tarball, &again.blob)?
        };
        verify::rebuilt(verdict, tarball, (&digest, &again.digest), &differences);
    }
    Ok(())
}

fn tarballs(subject: &Path) -> Result<Vec<PathBuf>, Failure> {
    if !subject.is_dir() {
        return Ok(vec![subject.to_owned()]);
    }
    let dist = Dist::open(subject).map_err(verify::VerifyError::from)?;
    Ok(dist.tarballs().map(|(asset, _, _)| dist.path(asset)).collect())
}

/// The sets that gave something, in the order of preference of who asks.
fn sets(preferred: &[String], named: &[String]) -> Vec<String> {
    let known = preferred.iter().filter(|set| named.contains(set)).cloned();
    let others = named.iter().filter(|set| !preferred.contains(set)).cloned();
    known.chain(others).collect()
}

/// Refuses a checkout of another commit.
fn compare_checkout(project: &Project, claim: &Claim, view: &View) -> Result<(), Failure> {
    let note = |message: String| view.event(&Event::Note { message: &message });
    let refused = |message: String, help: String| Failure::Told(Box::new(Report::new(Exit::Input, message).help(help)));
    let Some((commit, modified)) = &claim.commit else {
        note("the provenance names no commit of the recipes: those of this checkout are taken".to_owned());
        return Ok(());
    };
    if *modified {
        note(format!("it was built of {commit} with changes that nobody but its maker has"));
    }
    let Some((here, changed)) = checkout(&project.root)? else {
        note(format!("git does not say which commit these recipes are of; it was {commit}"));
        return Ok(());
    };
    if here != *commit {
        return Err(refused(
            format!("it was built of the recipes at {commit}, this checkout is at {here}"),
            format!(
                "check that commit out and name it: git worktree add ../at-release {commit}\n\
                 then again with --project ../at-release"
            ),
        ));
    }
    if changed && !modified {
        return Err(refused(
            format!("recipes, root filesystems or scripts here differ from {commit}, of which it was built"),
            "take the changes away: git stash".to_owned(),
        ));
    }
    Ok(())
}

/// Says aloud where inputs are others than those that the provenance names.
fn compare_inputs(project: &Project, corridor: &Corridor<'_>, claim: &Claim, view: &View) -> Result<(), Failure> {
    let lowered = corridor.lower(&requests(&claim.recipes)?, claim.arch)?;
    let here = crate::oci::Digest::of(&lowered.graph.to_bytes()).to_string();
    let scripts = attest::directory(&project.root.join("scripts"), &attest::scripts(&lowered.graph))?.hex();
    let version = env!("CARGO_PKG_VERSION");
    for (what, here, there) in [
        ("definition", here.as_str(), claim.definition.as_deref()),
        ("digest of scripts", scripts.as_str(), claim.scripts.as_deref()),
        ("version of dockless", version, Some(claim.builder.as_str())),
    ] {
        if let Some(there) = there.filter(|there| *there != here) {
            let message = format!("warning: the {what} was {there}, here it is {here}");
            view.event(&Event::Note { message: &message });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_sets_keep_the_order_of_preference() {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(sets(&list(&["b", "a", "c"]), &list(&["a", "b", "x"])), list(&["b", "a", "x"]));
    }
}
