//! `dockless cache`: what takes room in the store, and how to get it back.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand, ValueEnum};

use super::command::println;
use super::failure::Failure;
use super::progress::{View, bytes, clean};
use super::session::{Inside, Session};
use super::table::{Align, Table};
use crate::build::BuildError;
use crate::collect::{self, Filter, Kind, Plan, Policy, Row};
use crate::oci::Digest;
use crate::progress::{Event, Progress as _};
use crate::sandbox::Cancel;
use crate::snapshot::Snapshots;
use crate::solver::SolveError;
use crate::store::Store;

/// What to do with the cache.
#[derive(Debug, Subcommand)]
pub(crate) enum CacheCommand {
    /// Says what takes how much room, and when it was last used; with -v all of it
    Du(Du),
    /// Removes what nothing can use any more, or as much more as the options say
    Prune(Prune),
}

/// Arguments of `cache du`.
#[derive(Debug, Args)]
pub(crate) struct Du {
    /// Form
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// Arguments of `cache prune`.
#[derive(Debug, Args)]
pub(crate) struct Prune {
    /// Everything but tags and what is under them, also what a lock of the project names
    #[arg(short, long)]
    all: bool,
    /// What was used least recently goes, until the store takes no more than this, e.g. 2GB or 500MiB
    #[arg(long, value_name = "SIZE", value_parser = collect::size)]
    keep_bytes: Option<u64>,
    /// Only what was not used for so long goes, e.g. 12h or 7d
    #[arg(long, value_name = "DURATION", value_parser = collect::age)]
    older_than: Option<u64>,
    /// Only what this takes goes: type=, name=, name~=PATTERN, id=; conditions after commas must all hold, of several
    /// filters one
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<Filter>,
    /// Only says what would go
    #[arg(long)]
    dry_run: bool,
    /// Refuses, with exit code 3, while a build uses the store, instead of waiting for it
    #[arg(long)]
    no_wait: bool,
}

/// Forms of what there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Table,
    /// For programs
    Json,
}

/// Rows that are shown to a person who did not ask for all.
const SHOWN: usize = 25;

/// How often to look whether the store is free.
const PATIENCE: Duration = Duration::from_millis(100);

/// Runs `dockless cache`.
pub(super) fn cache(
    session: &Session<'_>,
    command: &CacheCommand,
    inside: &Inside,
    view: &View,
) -> Result<ExitCode, Failure> {
    match command {
        CacheCommand::Du(args) => du(session, args, inside, view),
        CacheCommand::Prune(args) => prune(session, args, inside, view),
    }
}

fn du(session: &Session<'_>, args: &Du, inside: &Inside, view: &View) -> Result<ExitCode, Failure> {
    let store = session.store()?;
    let snapshots = Snapshots::open(&store, inside.single_id)?;
    let facts = collect::gather(&store, &snapshots, &locked(session))?;
    let (rows, total) = collect::rows(&facts);
    let text = match args.format {
        Format::Json => json(&rows, total),
        Format::Table => table(&rows, total, session.global.verbose),
    };
    view.suspend(|| println(&text)).map(|()| ExitCode::SUCCESS)
}

fn prune(session: &Session<'_>, args: &Prune, inside: &Inside, view: &View) -> Result<ExitCode, Failure> {
    let store = alone(session, args.no_wait, &inside.cancel, view)?;
    let snapshots = Snapshots::open(&store, inside.single_id)?;
    let facts = collect::gather(&store, &snapshots, &locked(session))?;
    let policy = Policy {
        all: args.all,
        keep_bytes: args.keep_bytes,
        before: args.older_than.map(|age| now().saturating_sub_unsigned(age)),
        filters: args.filter.clone(),
    };
    let plan = collect::plan(&facts, &policy);
    let done = args.dry_run || collect::collect(&store, &snapshots, &plan, || inside.cancel.is_cancelled())?;
    if !done {
        return Err(Failure::Build(BuildError::Engine(SolveError::Cancelled)));
    }
    if args.keep_bytes.is_some_and(|bound| plan.left > bound) {
        let message = format!("{} are left: tags, locks and filters keep them", bytes(plan.left));
        view.event(&Event::Note { message: &message });
    }
    view.suspend(|| println(&pruned(&plan, args.dry_run))).map(|()| ExitCode::SUCCESS)
}

/// Opens the store when nobody else uses it.
fn alone(session: &Session<'_>, no_wait: bool, cancel: &Cancel, view: &View) -> Result<Store, Failure> {
    let root = session.store_root()?;
    let mut said = false;
    loop {
        if let Some(store) = Store::try_open_exclusive(&root)? {
            return Ok(store);
        }
        if no_wait {
            return Err(Failure::Busy { root });
        }
        if cancel.is_cancelled() {
            return Err(Failure::Build(BuildError::Engine(SolveError::Cancelled)));
        }
        if !said {
            view.event(&Event::Note { message: "a build uses the store; waiting for its end" });
            said = true;
        }
        std::thread::sleep(PATIENCE);
    }
}

/// Blobs that locks of the project name, where there is a project.
fn locked(session: &Session<'_>) -> BTreeMap<Digest, String> {
    let Ok(project) = session.project() else { return BTreeMap::new() };
    let sources = project.recipes.locks.iter().flat_map(|lock| &lock.sources);
    let sources = sources.map(|source| (source.digest, source.file.clone()));
    let packages = project.rootfs.values().flat_map(|rootfs| &rootfs.lock.packages);
    sources.chain(packages.map(|package| (package.digest, package.file().to_owned()))).collect()
}

#[expect(clippy::disallowed_methods, reason = "ages are told and chosen by the clock; no output carries it")]
fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn json(rows: &[Row<'_>], total: u64) -> String {
    let rows: Vec<serde_json::Value> = rows
        .iter()
        .map(|row| match row.unit {
            Some(unit) => serde_json::json!({
                "type": unit.kind.name(),
                "id": unit.id,
                "name": unit.name,
                "bytes": row.bytes,
                "shared": row.shared,
                "used": row.used,
                "keep": unit.keep.name(),
            }),
            None => serde_json::json!({ "type": Kind::Other.name(), "bytes": row.bytes, "shared": row.shared }),
        })
        .collect();
    serde_json::json!({ "bytes": total, "rows": rows }).to_string()
}

fn table(rows: &[Row<'_>], total: u64, all: bool) -> String {
    let now = now();
    let mut table = Table::new(&[
        ("type", Align::Left),
        ("size", Align::Right),
        ("shared", Align::Right),
        ("used", Align::Right),
        ("kept as", Align::Left),
        ("id", Align::Left),
        ("name", Align::Left),
    ]);
    let shown = if all { rows.len() } else { SHOWN };
    for row in rows.iter().filter(|row| row.unit.is_some()).take(shown) {
        let Some(unit) = row.unit else { continue };
        let id = if all { unit.id.as_str() } else { unit.id.get(..12).unwrap_or(&unit.id) };
        let shared = if row.shared == 0 { String::new() } else { bytes(row.shared) };
        let cells = [unit.kind.name(), &bytes(row.bytes), &shared, &ago(now - row.used), unit.keep.name(), id];
        let name = clean(unit.name.as_bytes());
        table.row(cells.into_iter().map(str::to_owned).chain([name]));
    }
    let mut text = if table.is_empty() { String::new() } else { table.render(None) };
    let hidden = rows.iter().filter(|row| row.unit.is_some()).count().saturating_sub(shown);
    if hidden > 0 {
        text = format!("{text}and {hidden} smaller ones, shown with -v\n");
    }
    text + "\n" + &sums(rows) + &format!("{} in all", bytes(total))
}

/// How many there are of each type, and what they take with what they share.
fn sums(rows: &[Row<'_>]) -> String {
    let mut sums = BTreeMap::<Kind, (usize, u64, u64)>::new();
    for row in rows {
        let sum = sums.entry(row.unit.map_or(Kind::Other, |unit| unit.kind)).or_default();
        *sum = (sum.0 + 1, sum.1 + row.bytes, sum.2 + row.shared);
    }
    let mut table = Table::new(&[
        ("type", Align::Left),
        ("number", Align::Right),
        ("size", Align::Right),
        ("shared", Align::Right),
    ]);
    for (kind, (number, size, shared)) in sums {
        table.row([kind.name(), &number.to_string(), &bytes(size), &bytes(shared)]);
    }
    table.render(None)
}

/// Says what went.
fn pruned(plan: &Plan, dry_run: bool) -> String {
    let mut table =
        Table::new(&[("type", Align::Left), ("freed", Align::Right), ("id", Align::Left), ("name", Align::Left)]);
    for unit in &plan.removed {
        let name = clean(unit.name.as_bytes());
        let id = unit.id.get(..12).unwrap_or(&unit.id);
        table.row([unit.kind.name(), &bytes(unit.freed), id, &name]);
    }
    let head = if table.is_empty() { String::new() } else { table.render(None) };
    let verb = if dry_run { "would be freed" } else { "freed" };
    format!("{head}{} {verb} ({} bytes), {} left", bytes(plan.freed), plan.freed, bytes(plan.left))
}

/// A span of time in one unit.
fn ago(seconds: i64) -> String {
    match seconds.max(0) {
        s @ 0..120 => format!("{s}s ago"),
        s @ 120..7200 => format!("{}m ago", s / 60),
        s @ 7200..172_800 => format!("{}h ago", s / 3600),
        s => format!("{}d ago", s / 86_400),
    }
}
