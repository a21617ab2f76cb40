//! The commands.

use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use super::args::{self, Cli, Command, DoctorFormat, GraphFormat, ProfileCommand};
use super::cache::cache;
use super::describe::describe;
use super::dockerfile::{self, DockerfileArgs};
use super::engine::Solvers;
use super::failure::Failure;
use super::grant::GrantArgs;
use super::image;
use super::notify::notify;
use super::output::Surroundings;
use super::pins::{fetch, lock};
use super::progress::{Style, View};
use super::release::{self, StageArg};
use super::report::Printed;
use super::scan::scan;
use super::session::{Inside, Session, variable};
use super::solve::solve;
use super::{
    doctor, expire, previous, profile, proof, publish, rebuild, recipe_image, report, sign, signals, suite, tag,
    trials, verify,
};
use crate::attest::Asked;
use crate::build::{BuildError, Corridor, Project};
use crate::export::{ImageLayer, ImageOptions};
use crate::llb;
use crate::oci::{Arch, Digest};
use crate::progress::{Event, Progress};
use crate::recipe::{Profile, Request};
use crate::release::prove;
use crate::sandbox::{self, Cancel, Rung, Settled};
use crate::solver::SolveError;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let (style, columns) = (Style::of(variable), columns());
    report::install_panic_report(style, columns);
    diagnose();
    let cli = Cli::parse();
    match run(&cli) {
        Ok(code) => code,
        Err(failure) => failure.report().show(style, columns),
    }
}

/// Diagnostics for developers on standard error, where `DOCKLESS_LOG` asks for them, e.g. `DOCKLESS_LOG=debug`.
fn diagnose() {
    if let Some(filter) = variable("DOCKLESS_LOG") {
        let filter = tracing_subscriber::EnvFilter::new(filter);
        tracing_subscriber::fmt().with_env_filter(filter).without_time().with_writer(std::io::stderr).init();
    }
}

/// Columns of standard error, 100 where it is no terminal.
pub(super) fn columns() -> usize {
    rustix::termios::tcgetwinsize(rustix::stdio::stderr()).map_or(100, |size| usize::from(size.ws_col.max(20)))
}

fn run(cli: &Cli) -> Result<ExitCode, Failure> {
    let session = Session { global: &cli.global };
    match &cli.command {
        Command::Build(args) => solving(&session, |inside, view| build(&session, args, inside, view)),
        Command::Release(args) => release(&session, args),
        Command::Test(args) => stepping(&session, |inside, view| test(&session, args, &inside, view)),
        Command::Sign(args) => {
            // Interrupted, gpg ends, and the key in memory is removed.
            signals::cancel_on_signals(&Cancel::new()?)?;
            watched(&session, |view| sign::sign(args, view))
        }
        Command::Verify(args) => {
            let mut verdict = verify::verdict(args)?;
            // What does not hold is not worth building again.
            if args.rebuild && verdict.holds() {
                stepping(&session, |inside, view| {
                    rebuild::rebuild(&session, args, inside, &mut verdict, view).map(|()| ExitCode::SUCCESS)
                })?;
            }
            verify::show(args, &verdict)
        }
        Command::Publish(args) => {
            let cancel = Cancel::new()?;
            signals::cancel_on_signals(&cancel)?;
            watched(&session, |view| publish::publish(&session, args, &cancel, view))
        }
        Command::Expire(args) => {
            let cancel = Cancel::new()?;
            signals::cancel_on_signals(&cancel)?;
            watched(&session, |view| expire::expire(&session, args, &cancel, view))
        }
        Command::Previous(args) => {
            let cancel = Cancel::new()?;
            signals::cancel_on_signals(&cancel)?;
            watched(&session, |view| previous::previous(&session, args, &cancel, view))
        }
        Command::Tag(args) => tag::tag(&session, args),
        Command::Describe(args) => describe(&session, args),
        Command::Notify(args) => {
            let cancel = Cancel::new()?;
            signals::cancel_on_signals(&cancel)?;
            watched(&session, |view| notify(&session, args, &cancel, view))
        }
        Command::Scan(args) => {
            let cancel = Cancel::new()?;
            signals::cancel_on_signals(&cancel)?;
            watched(&session, |view| scan(&session, args, &cancel, view))
        }
        Command::Graph(args) => graph(&session, args),
        Command::Solve(args) => solving(&session, |inside, view| solve(&session, args, inside, view)),
        Command::Image(command) if command.is_inside() => {
            inside(|inside| watched(&session, |view| image::inside(&session, command, &inside, view)))
        }
        Command::Image(command) => {
            let cancel = Cancel::new()?;
            signals::cancel_on_signals(&cancel)?;
            watched(&session, |view| image::outside(&session, command, &cancel, view))
        }
        Command::Cache(command) => inside(|inside| watched(&session, |view| cache(&session, command, &inside, view))),
        Command::Profile(ProfileCommand::Train(args)) => {
            stepping(&session, |inside, view| profile::train(&session, args, inside, view))
        }
        Command::Profile(command) => profile::outside(&session, command),
        Command::Lock(args) => watched(&session, |view| lock(&session, args, view)),
        Command::Fetch(args) => watched(&session, |view| fetch(&session, args, view)),
        Command::Doctor(args) => doctor(&session, args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "dockless", &mut script);
            print(&script)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Man => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut page).expect("memory takes what is written");
            print(&page)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Runs `act` in the command's own user namespace, where files may belong to all ids the user has.
fn inside(act: impl FnOnce(Inside) -> Result<ExitCode, Failure>) -> Result<ExitCode, Failure> {
    let entered = sandbox::enter()?;
    act(Inside::new(Settled { entered, rung: Rung::Userns })?)
}

/// As `inside`, where steps can run, and says how they run.
fn stepping(
    session: &Session<'_>,
    act: impl FnOnce(Inside, &View) -> Result<ExitCode, Failure>,
) -> Result<ExitCode, Failure> {
    let settled = session.settle()?;
    let announcement = settled.announcement();
    let inside = Inside::new(settled)?;
    watched(session, |view| {
        view.event(&Event::Note { message: &announcement });
        act(inside, view)
    })
}

/// As `stepping`, but where daemons solve, no step runs here.
fn solving(
    session: &Session<'_>,
    act: impl FnOnce(Inside, &View) -> Result<ExitCode, Failure>,
) -> Result<ExitCode, Failure> {
    if session.global.engine.is_buildkit() {
        return inside(|inside| watched(session, |view| act(inside, view)));
    }
    stepping(session, act)
}

/// Runs `act` under a view and takes the view away before anything else is said.
fn watched(session: &Session<'_>, act: impl FnOnce(&View) -> Result<ExitCode, Failure>) -> Result<ExitCode, Failure> {
    let view = session.view();
    let mut result = act(&view);
    view.finish();
    if let Err(failure) = &mut result
        && let Some(failure) = failure.step()
        && view.has_shown_tail(&failure.vertex)
    {
        // The live view left these very lines on the screen.
        failure.tail.clear();
    }
    result
}

pub(super) fn requests(names: &[String]) -> Result<Vec<Request>, Failure> {
    names.iter().map(|name| Ok(name.parse::<Request>()?)).collect()
}

fn build(session: &Session<'_>, args: &args::Build, inside: Inside, view: &View) -> Result<ExitCode, Failure> {
    if let Some(place) = dockerfile::place(&args.recipes, &args.dockerfile) {
        return dockerfile::build(session, args, place, inside, view);
    }
    let project = session.project();
    refuse_dockerfile_options(&args.recipes, &args.dockerfile, project.as_ref().ok())?;
    if args.grants != GrantArgs::default() {
        let message = "--secret, --ssh, --allow and --source-policy are for Dockerfiles: recipes name all they need";
        return Err(Failure::Usage { message: message.to_owned() });
    }
    let project = project?;
    let requests = requests(&args.recipes)?;
    let epoch = session.epoch(&project);
    let outputs = args.outputs.resolve(Some(epoch), None)?;
    let architectures = if args.arch.is_empty() { &[Arch::X86_64][..] } else { &args.arch };
    if !outputs.list.is_empty() && architectures.len() > 1 {
        return Err(Failure::Usage {
            message: "one output cannot take several architectures: build them one by one".to_owned(),
        });
    }
    args.attest.check(&outputs.list)?;
    let solvers = Solvers::open(session, inside, (&args.caches, &args.limits), view)?;
    let (engine, solver) = (&solvers.local, solvers.engine());
    let mut all = Vec::new();
    let corridor = Corridor { project: &project, engine: &*solver, profile: session.profile(Profile::Quick), epoch };
    for arch in architectures {
        let built = corridor.build(&requests, *arch, view)?;
        let tree = built.solved.snapshot.clone();
        view.event(&Event::Note { message: &format!("tree of {arch}: {}", built.solved.content) });
        if outputs.list.is_empty() {
            view.suspend(|| println(&tree.path().display().to_string()))?;
        } else {
            let tree = engine.snapshots.read(&tree)?;
            // What a recipe made: owned by root, one time, one layer.
            let layers = [ImageLayer::Tree { path: tree.path().to_owned(), overlay: false }];
            let image = recipe_image::of_recipes(&project.recipes, &requests, &built.lowered, (*arch, epoch));
            let image = ImageOptions { jobs: session.jobs(), stop: engine.origins.stop.clone(), ..image };
            let asked = Asked { requests: &requests, arch: *arch, profile: corridor.profile, epoch, scripts: None };
            let attestor = args.attest.recipes(&project, &built.lowered, &asked, tree.path(), view)?;
            let around = Surroundings::new(engine, view, Digest::of(b"dockless export"));
            let around = Surroundings { attestor: attestor.as_ref(), ..around };
            let said = outputs.write(tree.path(), &layers, &image, around)?;
            view.suspend(|| said.iter().try_for_each(|line| println(line)))?;
        }
        all.push(built.solved);
    }
    solvers.leave(session, &args.caches, &all.iter().collect::<Vec<_>>(), view);
    Ok(ExitCode::SUCCESS)
}

/// Refuses what recipes do not know, and what no Dockerfile is built of.
fn refuse_dockerfile_options(
    names: &[String],
    args: &DockerfileArgs,
    project: Option<&Project>,
) -> Result<(), Failure> {
    if let Some(place) = names.iter().find(|name| name.contains('/') || name.starts_with('.')) {
        let message = format!("one Dockerfile at a time: `{place}` is a directory, not a recipe");
        return Err(Failure::Usage { message });
    }
    let is_recipe = |name: &str| project.is_some_and(|project| project.recipes.recipes.contains_key(name));
    if let Some(name) = names.iter().find(|name| !is_recipe(name) && Path::new(name).join("Dockerfile").is_file()) {
        let message = format!("`{name}` alone is the name of a recipe: write ./{name} for the Dockerfile in it");
        return Err(Failure::Usage { message });
    }
    if *args == DockerfileArgs::default() {
        return Ok(());
    }
    let message = "options of Dockerfiles need the directory of one, such as `.`: these are names of recipes";
    Err(Failure::Usage { message: message.to_owned() })
}

fn release(session: &Session<'_>, args: &release::Release) -> Result<ExitCode, Failure> {
    match args.stage() {
        Some(StageArg::Test) => stepping(session, |inside, view| release::test(session, args, &inside, view)),
        Some(StageArg::Package | StageArg::Release) => watched(session, |view| release::join(session, args, view)),
        None | Some(StageArg::Build) => stepping(session, |inside, view| release::build(session, args, inside, view)),
    }
}

fn test(session: &Session<'_>, args: &args::Test, inside: &Inside, view: &View) -> Result<ExitCode, Failure> {
    let launcher = inside.launcher(|| {
        let place = tempfile::Builder::new().prefix("dockless-test-").tempdir();
        let failed = |source| Failure::Io { action: "create a directory in", path: std::env::temp_dir(), source };
        Ok(place.map_err(failed)?.keep())
    })?;
    let code = |passed| Ok(if passed { ExitCode::SUCCESS } else { ExitCode::from(1) });
    if args.suite.suite {
        return code(suite::try_all(session, args, (inside, &launcher), view)?);
    }
    if args.trials.is_asked() {
        return code(trials::try_all(session, args, (inside, &launcher), view)?);
    }
    let mut passed = true;
    for tarball in &args.tarballs {
        let proof = prove(tarball, &launcher, &inside.cancel)?;
        view.suspend(|| println(&proof::render(tarball, &proof)))?;
        if let Some(sizes) = proof.sizes.as_ref().filter(|_| args.sizes) {
            view.suspend(|| println(&proof::render_sizes(sizes)))?;
        }
        passed &= proof.passed();
    }
    code(passed)
}

fn graph(session: &Session<'_>, args: &args::Graph) -> Result<ExitCode, Failure> {
    let graph = if let Some(path) = &args.llb {
        definition(path)?
    } else if let Some(place) = dockerfile::place(&args.recipes, &args.dockerfile) {
        let cancel = Cancel::new()?;
        signals::cancel_on_signals(&cancel)?;
        let view = session.view();
        let graph = dockerfile::graph(session, &args.dockerfile, place, &cancel, &view);
        view.finish();
        graph?.ok_or_else(|| Failure::Usage { message: "this image is empty: there is no graph".to_owned() })?
    } else {
        let project = session.project();
        refuse_dockerfile_options(&args.recipes, &args.dockerfile, project.as_ref().ok())?;
        let project = project?;
        let epoch = session.epoch(&project);
        project
            .recipes
            .lower(
                &requests(&args.recipes)?,
                args.arch.unwrap_or(Arch::X86_64),
                session.profile(Profile::Quick),
                epoch,
            )?
            .graph
    };
    let graph = if session.global.engine.is_buildkit() {
        crate::engine::adapted(&graph).map_err(SolveError::from).map_err(BuildError::from)?
    } else {
        graph
    };
    let bytes = match args.format {
        GraphFormat::Tree => llb::tree(&graph).into_bytes(),
        GraphFormat::Json => llb::json_lines(&graph).into_bytes(),
        GraphFormat::Pb => graph.to_bytes(),
        GraphFormat::Dot => llb::dot(&graph).into_bytes(),
        GraphFormat::Svg => llb::svg(&graph).into_bytes(),
    };
    print(&bytes)?;
    Ok(ExitCode::SUCCESS)
}

/// Reads a definition from a file, or from standard input when that is called `-`.
pub(super) fn definition(path: &Path) -> Result<llb::Graph, Failure> {
    let name = if path == Path::new("-") { Path::new("standard input") } else { path };
    let failed = |source| Failure::Io { action: "read", path: name.to_owned(), source };
    let mut bytes = Vec::new();
    // One byte more than may be, so that a larger one is refused instead of cut.
    let limit = llb::LARGEST as u64 + 1;
    let read = if name == path {
        std::fs::File::open(path).map_err(failed)?.take(limit).read_to_end(&mut bytes)
    } else {
        std::io::stdin().take(limit).read_to_end(&mut bytes)
    };
    read.map_err(failed)?;
    let graph = llb::Graph::from_bytes(&bytes).map_err(SolveError::from).map_err(BuildError::from)?;
    Ok(graph)
}

fn doctor(session: &Session<'_>, args: &args::Doctor) -> Result<ExitCode, Failure> {
    let style = Style::of(variable);
    let global = session.global;
    let store = session.store_root()?;
    let registry = if global.offline { None } else { Some(session.registry(&Cancel::new()?)?) };
    let mirrored = global.registry_mirror.iter().map(|(name, _)| name.clone());
    let names: Vec<String> = mirrored.chain(global.insecure_registry.iter().cloned()).collect();
    let surroundings = doctor::Surroundings {
        store: &store,
        mirrors: &global.debian_mirror,
        registry: registry.as_ref().map(|registry| (registry, &names[..])),
        environment: &variable,
        live: style.live,
    };
    let findings = doctor::diagnose(&doctor::gather(&surroundings));
    if args.json || args.format == DoctorFormat::Json {
        print(doctor::json(&findings).as_bytes())?;
    } else {
        println(doctor::table(&findings, style, None).trim_end())?;
    }
    Ok(if doctor::can_build(&findings) { ExitCode::SUCCESS } else { ExitCode::from(3) })
}

/// Writes a line of the result.
pub(super) fn println(line: &str) -> Result<(), Failure> {
    print(format!("{line}\n").as_bytes())
}

/// Writes bytes of the result.
pub(super) fn print(bytes: &[u8]) -> Result<(), Failure> {
    match report::print(bytes) {
        // Whoever reads `dockless … | head` has what they want.
        Ok(Printed::Written | Printed::Closed) => Ok(()),
        Err(report) => Err(Failure::Told(report)),
    }
}
