//! From arguments to a graph, and from there to an image.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::args::{DockerfileArgs, NetworkArg};
use super::base::Bases;
use super::context::{Places, dockerfile, missing};
use crate::build::BuildError;
use crate::cli::args;
use crate::cli::engine::Solvers;
use crate::cli::failure::Failure;
use crate::cli::grant::GrantArgs;
use crate::cli::output::OutputType;
use crate::cli::progress::View;
use crate::cli::session::{Inside, Session, stop};
use crate::cli::solve::{Work, deliver, solvers};
use crate::dockerfile::{self as room, Context, Dockerfile, Lowered, Options, is_repository};
use crate::llb::{Entitlement, Graph};
use crate::oci::Digest;
use crate::policy::Policies;
use crate::progress::{Event, Progress};
use crate::registry::Registry;
use crate::sandbox::Cancel;
use crate::solver::Inputs;
use crate::source::Stop;
use crate::store::Store;

/// What resolving is shown as: no vertex of any graph.
fn told(view: &View) -> (&dyn Progress, Digest) {
    (view, Digest::of(b"dockless build"))
}

/// What a Dockerfile is lowered with.
struct Around<'a> {
    session: &'a Session<'a>,
    store: &'a Store,
    registry: &'a Registry,
    policies: Policies,
    stop: Stop,
    view: &'a View,
    /// Where a repository can be looked into.
    solvers: Option<&'a Solvers>,
}

/// Builds a Dockerfile whose files are in `place`.
pub(in crate::cli) fn build(
    session: &Session<'_>,
    args: &args::Build,
    place: &str,
    inside: Inside,
    view: &View,
) -> Result<ExitCode, Failure> {
    if !args.arch.is_empty() {
        let message = "--arch is for recipes: write --platform linux/386 and the like for a Dockerfile";
        return Err(Failure::Usage { message: message.to_owned() });
    }
    let outputs = args.outputs.resolve(session.global.epoch, Some(OutputType::Image))?;
    args.attest.check(&outputs.list)?;
    let mut grants = args.grants.clone();
    if args.dockerfile.network == NetworkArg::Host {
        grants.allow.push(Entitlement::NetworkHost);
    }
    let solvers = solvers(session, inside, &grants, (&args.caches, &args.limits), view)?;
    let engine = &solvers.local;
    let around = Around {
        session,
        store: &engine.store,
        registry: &engine.registry,
        policies: grants.policies()?,
        stop: engine.origins.stop.clone(),
        view,
        solvers: Some(&solvers),
    };
    let (lowered, mut inputs) = around.lower(&args.dockerfile, place, &grants)?;
    grants.fill(&mut inputs)?;
    let epoch = lowered.epoch.and_then(|epoch| u64::try_from(epoch).ok()).or(session.global.epoch);
    let work = Work {
        graph: lowered.graph,
        inputs,
        config: Some(lowered.image.to_object()),
        epoch,
        outputs,
        attest: &args.attest,
        caches: &args.caches,
    };
    deliver(session, &solvers, work, view)
}

/// Returns the graph of a Dockerfile.
pub(in crate::cli) fn graph(
    session: &Session<'_>,
    args: &DockerfileArgs,
    place: &str,
    cancel: &Cancel,
    view: &View,
) -> Result<Option<Graph>, Failure> {
    let (store, registry) = (session.store()?, session.registry(cancel)?);
    let policies = Policies::default();
    let around =
        Around { session, store: &store, registry: &registry, policies, stop: stop(cancel), view, solvers: None };
    Ok(around.lower(args, place, &GrantArgs::default())?.0.graph)
}

impl Around<'_> {
    /// Reads the Dockerfile and everything that decides on its graph.
    fn lower(&self, args: &DockerfileArgs, place: &str, grants: &GrantArgs) -> Result<(Lowered, Inputs), Failure> {
        let mut places = Places::default();
        let mut options = args.options(self.session.global.epoch);
        let (name, text) = if is_repository(place) {
            options.context = Context::Git(place.to_owned());
            self.of_repository(args, place, grants)?
        } else {
            self.of_directory(args, place, (&mut places, &mut options))?
        };
        for (name, place) in &args.build_context {
            let context = places.named(name, place, &self.stop)?;
            options.contexts.insert(name.clone(), context);
        }
        let bases = Bases {
            store: self.store,
            registry: self.registry,
            policies: &self.policies,
            layouts: &places.layouts,
            pull: args.pull,
            stop: self.stop.clone(),
            told: told(self.view),
            converted: RefCell::default(),
        };
        let file = Dockerfile { name: &name, text: &text };
        let mut lowered = room::lower(file, &options, &|wanted, platform| bases.resolve(wanted, platform))?;
        for warning in &lowered.warnings {
            let message = format!("{name}:{}: {} ({})", warning.line, warning.message, warning.rule);
            self.view.event(&Event::Note { message: &message });
        }
        if let Context::Local { name, excludes } = &options.context
            && let Some(root) = places.inputs.directories.get(name)
        {
            let called = if place == "-" { "the build context: `-` has none".to_owned() } else { format!("`{place}`") };
            if let Some(missing) = missing(&lowered.context_paths, (&root.path, &called), excludes) {
                return Err(missing.into());
            }
        }
        lowered.graph = lowered.graph.map(|graph| bases.filtered(graph)).transpose()?;
        Ok((lowered, places.inputs))
    }

    /// Reads the Dockerfile of a directory; `-` has none, and the Dockerfile is standard input.
    fn of_directory(
        &self,
        args: &DockerfileArgs,
        place: &str,
        (places, options): (&mut Places, &mut Options),
    ) -> Result<(String, String), Failure> {
        let is_lone = place == "-";
        let file = match &args.file {
            Some(file) => file.clone(),
            None if is_lone => PathBuf::from("-"),
            None => Path::new(place).join("Dockerfile"),
        };
        let text = dockerfile(&file)?;
        if is_lone {
            // `tar(5)`: where the first header says what it is.
            if text.as_bytes().get(257..262) == Some(b"ustar") {
                let message = "a tar on standard input is not read: unpack it and name its directory".to_owned();
                return Err(Failure::Usage { message });
            }
            let empty = self.store.room("empty")?;
            options.context = places.directory("context", &empty, &[])?;
        } else {
            // As docker has it: a file beside the Dockerfile and named after it goes first.
            let mut beside = file.clone().into_os_string();
            beside.push(".dockerignore");
            let ignore = [PathBuf::from(beside), Path::new(place).join(".dockerignore")];
            options.context = places.directory("context", Path::new(place), &ignore)?;
        }
        let name = if file == Path::new("-") { "Dockerfile".to_owned() } else { file.display().to_string() };
        Ok((name, text))
    }

    /// Reads the Dockerfile of a repository, by building one that only copies it.
    fn of_repository(
        &self,
        args: &DockerfileArgs,
        address: &str,
        grants: &GrantArgs,
    ) -> Result<(String, String), Failure> {
        let Some(solvers) = self.solvers else {
            let message = "the Dockerfile of a repository is not fetched for its graph alone: clone it first";
            return Err(Failure::Usage { message: message.to_owned() });
        };
        let name = args.file.clone().unwrap_or_else(|| PathBuf::from("Dockerfile")).display().to_string();
        let words = serde_json::json!([name, "/Dockerfile"]);
        let copy = format!("FROM scratch\nCOPY {words}\n");
        let options = Options { context: Context::Git(address.to_owned()), ..Options::default() };
        let file = Dockerfile { name: "the Dockerfile of a repository", text: &copy };
        let lowered = room::lower(file, &options, &|_, _| Err("nothing is built on".into()))?;
        let graph = lowered.graph.ok_or_else(|| Failure::Usage { message: format!("`{name}` is no file") })?;
        let graph = graph.with_sources(|_, source| self.policies.evaluate(source))?;
        let mut inputs = Inputs::default();
        grants.fill(&mut inputs)?;
        let solved = solvers.engine().solve(&graph, &inputs, self.view).map_err(BuildError::from)?;
        let tree = solvers.local.snapshots.read(&solved.snapshot)?;
        Ok((name, dockerfile(&tree.path().join("Dockerfile"))?))
    }
}
