//! Base images: what a reference in a Dockerfile means, here and now.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::dockerfile::{ResolveError, Wanted};
use crate::image;
use crate::llb::{Graph, pb};
use crate::oci::Digest;
use crate::policy::{Policies, PolicyError};
use crate::progress::Progress;
use crate::registry::{self, Layout, Platform, Reference, Registry};
use crate::source::{SourceError, Stop};
use crate::store::Store;

const DOCKER_IMAGE: &str = "docker-image://";

/// What is asked about base images.
pub(super) struct Bases<'a> {
    pub(super) store: &'a Store,
    pub(super) registry: &'a Registry,
    pub(super) policies: &'a Policies,
    pub(super) layouts: &'a BTreeMap<String, PathBuf>,
    /// Ask registries even where the store has the name.
    pub(super) pull: bool,
    pub(super) stop: Stop,
    pub(super) told: (&'a dyn Progress, Digest),
    /// What policies made of references, by what the graph will name instead.
    pub(super) converted: RefCell<BTreeMap<String, String>>,
}

impl Bases<'_> {
    /// Answers lowering.
    pub(super) fn resolve(&self, wanted: &Wanted, platform: &pb::Platform) -> Result<(Digest, Vec<u8>), ResolveError> {
        let platform = Platform::new(&platform.os, &platform.architecture, &platform.variant);
        match wanted {
            Wanted::Image(text) => self.image(text, &platform),
            Wanted::Layout { store, digest } => {
                let path = self.layouts.get(store).ok_or_else(|| format!("there is no layout `{store}`"))?;
                let layout = Layout::open(path, self.stop.clone()).map_err(SourceError::from)?;
                Ok(registry::layout_config(&layout, digest, &platform, self.store).map_err(SourceError::from)?)
            }
        }
    }

    fn image(&self, text: &str, platform: &Platform) -> Result<(Digest, Vec<u8>), ResolveError> {
        let identifier = format!("{DOCKER_IMAGE}{text}");
        let source = pb::SourceOp { identifier, ..pb::SourceOp::default() };
        let converted = self.policies.evaluate(&source)?;
        let meant = match &converted {
            None => text,
            Some(source) => source.identifier.strip_prefix(DOCKER_IMAGE).ok_or_else(|| {
                format!("a policy makes it `{}`, and a Dockerfile can be built on images only", source.identifier)
            })?,
        };
        let reference: Reference = meant.parse()?;
        let (digest, config) = match self.stored(&reference, platform)? {
            Some(found) => found,
            None => registry::config(self.registry, &reference, platform, self.store, self.told)
                .map_err(SourceError::from)?,
        };
        if meant != text {
            self.converted.borrow_mut().insert(format!("{text}@{digest}"), format!("{meant}@{digest}"));
        }
        Ok((digest, config))
    }

    /// Looks for an image that the store has under this name, for this platform.
    fn stored(&self, reference: &Reference, platform: &Platform) -> Result<Option<(Digest, Vec<u8>)>, ResolveError> {
        if self.pull || reference.digest().is_some() {
            return Ok(None);
        }
        let name = reference.to_string();
        let Some(descriptor) = self.store.resolve(&name)? else { return Ok(None) };
        let digest: Digest = descriptor.digest().to_string().parse()?;
        // One for another machine, or a half of one, is not what is meant.
        let Ok((_, config)) = image::image(self.store, &digest, (platform, true), &name) else {
            return Ok(None);
        };
        Ok(Some((digest, serde_json::to_vec(&config)?)))
    }

    /// Lets policies decide on the sources of the graph that lowering made.
    pub(super) fn filtered(&self, graph: Graph) -> Result<Graph, PolicyError> {
        let converted = self.converted.borrow();
        graph.with_sources(|_, source| {
            let known = source.identifier.strip_prefix(DOCKER_IMAGE).and_then(|text| converted.get(text));
            match known {
                Some(meant) => {
                    Ok(Some(pb::SourceOp { identifier: format!("{DOCKER_IMAGE}{meant}"), ..source.clone() }))
                }
                None => self.policies.evaluate(source),
            }
        })
    }
}
