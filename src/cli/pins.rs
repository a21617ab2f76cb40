//! `dockless lock` and `dockless fetch`: what builds are made of, named and brought here.

use std::process::ExitCode;

use super::args;
use super::command::{println, requests};
use super::failure::Failure;
use super::progress::View;
use super::session::Session;
use crate::build;
use crate::oci::Digest;
use crate::progress::Progress;
use crate::recipe::Profile;
use crate::source;

/// Checks the locks, or writes some anew.
pub(super) fn lock(session: &Session<'_>, args: &args::Lock, view: &View) -> Result<ExitCode, Failure> {
    let root = session.project_root()?;
    let store = session.store()?;
    let origins = session.origins()?;
    let registry = session.registry_by(&origins)?;
    // Not a vertex of any graph: what is fetched is shown under one name.
    let told: (&dyn Progress, Digest) = (view, Digest::of(b"dockless lock"));
    for name in &args.update {
        let name = name.trim_start_matches("rootfs/");
        let place = (root.join("rootfs"), name);
        if let Some(lock) = source::update_base(&store, (&place.0, place.1), &registry, told)? {
            for (arch, manifest) in &lock.platforms {
                view.suspend(|| println(&format!("rootfs/{name}.lock: {} for {arch}, {manifest}", lock.image)))?;
            }
            continue;
        }
        let lock = source::update_rootfs(&store, (&place.0, place.1), &origins, session.jobs(), told)?;
        view.suspend(|| println(&format!("rootfs/{name}.lock: {} packages, {}", lock.packages.len(), lock.manifest)))?;
    }
    if args.update.is_empty() {
        let project = session.project()?;
        let roots = source::read_roots(&root.join("rootfs"))?;
        for rootfs in project.rootfs.values().chain(&roots) {
            let name = &rootfs.name;
            source::reproduce(&store, rootfs, &origins, session.jobs(), told)?;
            view.suspend(|| {
                println(&format!("rootfs/{name}: {} packages, {}", rootfs.lock.packages.len(), rootfs.lock.manifest))
            })?;
        }
        for (name, base) in &project.bases {
            for (arch, manifest) in source::check_base(&store, base, &registry, told)? {
                view.suspend(|| println(&format!("rootfs/{name}: {} for {arch}, {manifest}", base.base.image)))?;
            }
        }
        for lock in &project.recipes.locks {
            view.suspend(|| println(&format!("{}: {} sources", lock.set, lock.sources.len())))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Brings everything that a build needs into the store.
pub(super) fn fetch(session: &Session<'_>, args: &args::Fetch, view: &View) -> Result<ExitCode, Failure> {
    let project = session.project()?;
    let requests = requests(&args.recipes)?;
    let store = session.store()?;
    let origins = session.origins()?;
    let registry = session.registry_by(&origins)?;
    let epoch = session.epoch(&project);
    for arch in &args.arch {
        let lowered = project.recipes.lower(&requests, *arch, session.profile(Profile::Quick), epoch)?;
        let files: Vec<source::Pinned> = lowered.sources.values().map(build::pinned).collect();
        let told: (&dyn Progress, Digest) = (view, lowered.graph.output().vertex);
        source::fetch_all(&store, &files, &origins, source::PARALLEL, told)?;
        for name in lowered.images.values() {
            source::assemble(&store, &project.rootfs[name], &origins, session.jobs(), told)?;
        }
        for name in lowered.bases.values() {
            source::fetch_base(&store, &project.bases[name], *arch, &registry, told)?;
        }
        let roots = lowered.images.len() + lowered.bases.len();
        view.suspend(|| println(&format!("{arch}: {} sources, {roots} root filesystems", files.len())))?;
    }
    Ok(ExitCode::SUCCESS)
}
