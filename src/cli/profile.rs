//! `dockless profile`: trains, lists and compares what profile `release` builds with.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::args::{ProfileCommand, ProfileTrain};
use super::command::{println, requests};
use super::failure::Failure;
use super::progress::View;
use super::session::{Inside, Session};
use super::table::{Align, Table};
use crate::build::{Built, Corridor};
use crate::oci::{Arch, Digest};
use crate::progress::{Event, Progress as _};
use crate::recipe::{Profile, Request, TrainedProfile};
use crate::training::{Counts, Difference};

/// What a training step leaves in `/out`.
const ARCHIVE: &str = "profile.tar.xz";

/// Objects that a comparison names.
const SHIFTS: usize = 12;

/// Builds with counters, runs the load, and pins what was counted in `recipes/profiles/`.
pub(super) fn train(
    session: &Session<'_>,
    args: &ProfileTrain,
    inside: Inside,
    view: &View,
) -> Result<ExitCode, Failure> {
    let project = session.project()?;
    let epoch = session.epoch(&project);
    let mut wanted = Vec::new();
    for request in requests(&args.recipes)? {
        let names = project.recipes.profiled(&request.name)?;
        if names.is_empty() {
            let message = format!("nothing of `{}` can be trained: no recipe says `profiled = true`", request.name);
            return Err(Failure::Usage { message });
        }
        wanted.extend(names.into_iter().map(|name| Request { name, version: request.version.clone() }));
    }
    let mut engine = session.engine(inside)?;
    args.limits.apply(&mut engine)?;
    let corridor = Corridor { project: &project, engine: &engine, profile: Profile::Train, epoch };
    let directory = project.root.join("recipes/profiles");
    for arch in &args.arch {
        for request in &wanted {
            let built = corridor.build(std::slice::from_ref(request), *arch, view)?;
            let tree = engine.snapshots.read(&built.solved.snapshot)?;
            let path = tree.path().join(ARCHIVE);
            let archive = read(&path)?;
            let counts = Counts::read(&archive[..])?;
            let profile = describe(request, &built, *arch, &archive, &counts);
            let older = project.recipes.profiles.iter().find(|older| older.stem() == profile.stem());
            let said = match older {
                None => format!("{}: trained for the first time\n", profile.stem()),
                Some(older) => told(&Difference::between(&counts_of(&directory, older)?, &counts)),
            };
            publish(&directory, &profile, &archive)?;
            view.event(&Event::Note { message: &format!("{}: {} bytes", profile.archive, profile.size) });
            view.suspend(|| println(&format!("{}{}", table(std::slice::from_ref(&profile)), said.trim_end())))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// `ls` and `diff`.
pub(super) fn outside(session: &Session<'_>, command: &ProfileCommand) -> Result<ExitCode, Failure> {
    match command {
        ProfileCommand::Train(_) => unreachable!("training needs a place for steps"),
        ProfileCommand::Ls => println(table(&session.project()?.recipes.profiles).trim_end())?,
        ProfileCommand::Diff { old, new } => {
            let (old, new) = (Counts::read(&read(old)?[..])?, Counts::read(&read(new)?[..])?);
            println(told(&Difference::between(&old, &new)).trim_end())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn describe(request: &Request, built: &Built, arch: Arch, archive: &[u8], counts: &Counts) -> TrainedProfile {
    let version = built.lowered.versions.get(&request.name).cloned().unwrap_or_default();
    // The graph of one trained package: the source that has its version.
    let source = built.lowered.sources.values().find(|choice| {
        choice.source.name == request.name && version.trim_end_matches('t') == choice.source.version.as_str()
    });
    let totals = counts.totals();
    let mut profile = TrainedProfile {
        package: request.name.clone(),
        version,
        arch: arch.name().to_owned(),
        source: source.map(|choice| choice.source.digest.hex()).unwrap_or_default(),
        archive: String::new(),
        sha256: Digest::of(archive).hex(),
        size: archive.len() as u64,
        compiler: counts.compiler.clone(),
        level: counts.level.clone(),
        objects: totals.objects,
        functions: totals.functions,
        executed: totals.executed,
    };
    profile.archive = format!("{}.tar.xz", profile.stem());
    profile
}

fn counts_of(directory: &Path, profile: &TrainedProfile) -> Result<Counts, Failure> {
    Ok(Counts::read(&read(&directory.join(&profile.archive))?[..])?)
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|source| Failure::Io { action: "read", path: path.to_owned(), source })
}

/// Archive first, its description last: a description never names bytes that are not there.
fn publish(directory: &Path, profile: &TrainedProfile, archive: &[u8]) -> Result<(), Failure> {
    let failed = |path: PathBuf| move |source| Failure::Io { action: "write", path, source };
    fs::create_dir_all(directory).map_err(failed(directory.to_owned()))?;
    let write = |name: &str, bytes: &[u8]| -> io::Result<()> {
        let mut file = tempfile::Builder::new().prefix(".profile-").tempfile_in(directory)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
        file.persist(directory.join(name)).map_err(|error| error.error)?;
        Ok(())
    };
    write(&profile.archive, archive).map_err(failed(directory.join(&profile.archive)))?;
    let name = format!("{}.toml", profile.stem());
    write(&name, profile.to_toml().as_bytes()).map_err(failed(directory.join(&name)))
}

fn table(profiles: &[TrainedProfile]) -> String {
    let mut table = Table::new(&[
        ("profile", Align::Left),
        ("size", Align::Right),
        ("objects", Align::Right),
        ("functions", Align::Right),
        ("executed", Align::Right),
        ("gcc", Align::Left),
        ("level", Align::Left),
        ("source", Align::Left),
    ]);
    for profile in profiles {
        let numbers = [profile.size, profile.objects, profile.functions, profile.executed].map(|n| n.to_string());
        let [size, objects, functions, executed] = &numbers;
        let source = profile.source.get(..12).unwrap_or_default();
        table.row([&profile.stem(), size, objects, functions, executed, &profile.compiler, &profile.level, source]);
    }
    table.render(None)
}

/// Says what is otherwise.
fn told(difference: &Difference) -> String {
    let mut table = Table::new(&[("functions", Align::Left), ("", Align::Right)]);
    for (what, number) in [
        ("alike", difference.alike),
        ("new", difference.functions_new),
        ("gone", difference.functions_gone),
        ("of another shape", difference.reshaped),
        ("executed in one only", difference.awakened),
        ("twice or half the part of all counts", difference.moved),
    ] {
        table.row([what.to_owned(), number.to_string()]);
    }
    let mut text = table.render(None);
    if let Some([old, new]) = &difference.levels {
        let _ = writeln!(text, "trained at {old}, now at {new}: flow graphs differ from level to level");
    }
    for (what, objects) in [("new objects", &difference.objects_new), ("objects gone", &difference.objects_gone)] {
        if !objects.is_empty() {
            text += what;
            text += ": ";
            text += &objects.join(" ");
            text.push('\n');
        }
    }
    let mut table = Table::new(&[("part of all counts", Align::Left), ("before", Align::Right), ("now", Align::Right)]);
    for shift in difference.shifts.iter().take(SHIFTS) {
        let percent = |part: f64| format!("{:.2} %", part * 100.0);
        table.row([shift.object.clone(), percent(shift.old), percent(shift.new)]);
    }
    text + &table.render(None)
}
