//! `dockless describe`: notes, metrics and report of a release directory.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::command::println;
use super::failure::Failure;
use super::forge::read;
use super::session::Session;
use super::tag::commits_since;
use crate::dist::{self, Description, Dist, SUMS, VariantFacts};
use crate::oci::Digest;
use crate::publish::PublishError;
use crate::summary::{self, Previous};

pub(super) const EXAMPLES: &str = "Examples:
  dockless describe dist
  dockless describe dist --previous last/release.json --template notes.md

Writes RELEASE_NOTES.md, metrics.prom and report.html of what release.json says into the directory, and their sums into
SHA256SUMS. A template names {tag} {name} {commit} {components} {changes} {files} {verify}; {{ is a brace.";

/// Arguments of `describe`.
#[derive(Debug, Args)]
pub(crate) struct Describe {
    /// What `dockless release` made
    #[arg(value_name = "DIST", default_value = "dist")]
    dist: PathBuf,
    /// The release before: its release.json, or its directory
    #[arg(long, value_name = "FILE|DIR")]
    previous: Option<PathBuf>,
    /// A template of the notes
    #[arg(long, value_name = "FILE")]
    template: Option<PathBuf>,
    /// The tag of the release [default: what release.json says]
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
}

/// Runs the command.
pub(super) fn describe(session: &Session<'_>, args: &Describe) -> Result<ExitCode, Failure> {
    let dist = Dist::open(&args.dist).map_err(PublishError::from)?;
    let mut release = description(&dist);
    release.tag = args.tag.clone().or(release.tag);
    let previous = args.previous.as_deref().map(|path| previous(session, path, &release)).transpose()?.flatten();
    let template = args.template.as_deref().map(read).transpose()?;
    let notes = summary::notes(&release, dist.assets(), previous.as_ref(), template.as_deref());
    let notes = notes.map_err(|error| Failure::Usage { message: error.to_string() })?;
    let written = [
        ("RELEASE_NOTES.md", notes),
        ("metrics.prom", summary::metrics(&release)),
        ("report.html", summary::report(&release)),
    ];
    let mut sums: BTreeMap<String, Digest> = dist.sums();
    for (name, text) in &written {
        sums.insert((*name).to_owned(), Digest::of(text.as_bytes()));
    }
    let rendered = dist::render(&sums);
    let signed = [".asc", ".sigstore.json"].map(|ending| args.dist.join(format!("{SUMS}{ending}")));
    if let Some(signature) = signed.iter().find(|it| it.exists())
        && read(&args.dist.join(SUMS))? != rendered
    {
        let message = format!(
            "`{}` is there: what describes a release changes {SUMS}, which is signed already. Describe first, then sign; or \
             remove the signature and sign again",
            signature.display()
        );
        return Err(Failure::Usage { message });
    }
    // Sums last, and everything on the disk before the first rename: a directory that is left in between is refused.
    let mut files = Vec::new();
    for (name, text) in written.iter().map(|(name, text)| (*name, text.as_str())) {
        files.push((args.dist.join(name), prepared(&args.dist, text)?));
    }
    files.push((args.dist.join(SUMS), prepared(&args.dist, &rendered)?));
    for (path, file) in files {
        file.persist(&path).map_err(|failed| Failure::Io {
            action: "rename to",
            path: path.clone(),
            source: failed.error,
        })?;
        println(&path.display().to_string())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns what release.json says, or what the names of the files do.
pub(super) fn description(dist: &Dist) -> Description {
    if let Some(description) = dist.description() {
        return description.clone();
    }
    let variant = |(asset, version, arch): (&dist::Asset, String, crate::oci::Arch)| VariantFacts {
        version,
        arch: arch.name().to_owned(),
        tarball: Some(asset.name.clone()),
        sha256: Some(asset.digest),
        size: Some(asset.size),
        ..VariantFacts::default()
    };
    Description { format: dist::FORMAT, variants: dist.tarballs().map(variant).collect(), ..Description::default() }
}

/// Reads the release before; an empty file, which `dockless previous` leaves before the first one, is none.
pub(super) fn previous(session: &Session<'_>, path: &Path, release: &Description) -> Result<Option<Previous>, Failure> {
    let file = if path.is_dir() { path.join("release.json") } else { path.to_owned() };
    let text = read(&file)?;
    if text.trim().is_empty() {
        return Ok(None);
    }
    let parsed = Description::parse(&text);
    let before = parsed.map_err(|reason| Failure::Usage { message: format!("`{}`: {reason}", file.display()) })?;
    let commits = match (&before.commit, &release.commit) {
        (Some(before), Some(after)) => commits_since(session, before, after)?,
        _ => Vec::new(),
    };
    Ok(Some(Previous { release: before, commits }))
}

fn prepared(dist: &Path, text: &str) -> Result<tempfile::NamedTempFile, Failure> {
    let failed = |action| move |source| Failure::Io { action, path: dist.to_owned(), source };
    let made = tempfile::Builder::new().prefix(".describe-").tempfile_in(dist);
    let mut file = made.map_err(failed("create a file in"))?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.as_file().set_permissions(fs::Permissions::from_mode(0o644)))
        .and_then(|()| file.as_file().sync_all())
        .map_err(failed("write into"))?;
    Ok(file)
}
