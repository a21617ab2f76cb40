//! `dockless image ls` and `inspect`: what there is.

use std::collections::BTreeSet;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::command::{print, println};
use super::failure::Failure;
use super::image_given::{PlatformArg, given};
use super::progress::{View, bytes, clean};
use super::session::Session;
use super::table::{Align, Table};
use crate::image::{self, Details, ImageError};
use crate::oci::Digest;
use crate::registry::{Descriptor, Image};
use crate::sandbox::Cancel;
use crate::store::Store;

pub(super) const INSPECT: &str = "Examples:
  dockless image inspect debian:bookworm
  dockless image inspect --format json debian:bookworm | jq -r '.config.config.Env[]'
  dockless image inspect --raw docker://debian:bookworm";

/// Arguments of `image ls`.
#[derive(Debug, Args)]
pub(crate) struct Ls {
    /// Form
    #[arg(long, value_enum, default_value_t = Form::Table)]
    format: Form,
    /// Prints digests only
    #[arg(short, long)]
    quiet: bool,
    /// Also images that lost their name, or never had one
    #[arg(short, long)]
    all: bool,
}

/// Arguments of `image inspect`.
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// Name or digest of the store, or one of another place as with `unpack`
    #[arg(value_name = "REF")]
    reference: String,
    /// Of an index, which image [default: this machine's]
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<PlatformArg>,
    /// Form
    #[arg(long, value_enum, default_value_t = Form::Table)]
    format: Form,
    /// Prints the config, byte for byte
    #[arg(long, group = "which")]
    config: bool,
    /// Prints the image's manifest, byte for byte
    #[arg(long, group = "which")]
    manifest: bool,
    /// Prints what the name leads to, byte for byte: a manifest or an index
    #[arg(long, group = "which")]
    raw: bool,
}

/// Forms of what there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// For people
    Table,
    /// For programs
    Json,
}

pub(super) fn ls(session: &Session<'_>, args: &Ls, view: &View) -> Result<(), Failure> {
    let store = session.store()?;
    let listed = image::list(&store, args.all)?;
    if args.quiet {
        let mut seen = BTreeSet::new();
        let digests = listed.iter().map(|listed| listed.details.descriptor.digest);
        let lines: Vec<String> =
            digests.filter(|digest| seen.insert(*digest)).map(|digest| digest.to_string()).collect();
        return if lines.is_empty() { Ok(()) } else { view.suspend(|| println(&lines.join("\n"))) };
    }
    if args.format == Form::Json {
        let rows = listed.iter().map(|listed| {
            let mut row = described(&listed.details);
            row["name"] = json!(listed.name);
            row
        });
        return view.suspend(|| println(&Value::Array(rows.collect()).to_string()));
    }
    let mut table = Table::new(&[
        ("name", Align::Left),
        ("digest", Align::Left),
        ("platform", Align::Left),
        ("size", Align::Right),
        ("created", Align::Left),
    ]);
    for listed in &listed {
        let details = &listed.details;
        let name = listed.name.as_ref().map_or_else(|| "-".to_owned(), |name| clean(name.as_bytes()));
        let created = details.created.as_deref().map(|time| clean(time.as_bytes())).unwrap_or_default();
        let created = created.get(..10).unwrap_or(&created).to_owned();
        let platforms = if details.missing.is_empty() { platforms(details) } else { "incomplete".to_owned() };
        table.row([name, details.descriptor.digest.short(), platforms, bytes(details.size), created]);
    }
    if table.is_empty() {
        return Ok(());
    }
    view.suspend(|| println(table.render(None).trim_end()))
}

fn platforms(details: &Details) -> String {
    let all: Vec<String> = details.platforms.iter().map(|platform| clean(platform.to_string().as_bytes())).collect();
    all.join(",")
}

/// What is known of an image, for programs.
fn described(details: &Details) -> Value {
    json!({
        "digest": details.descriptor.digest,
        "mediaType": details.descriptor.media_type,
        "platforms": details.platforms.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "size": details.size,
        "created": details.created,
        "index": details.index.is_some(),
        "absent": details.index.unwrap_or_default(),
        "missing": details.missing,
    })
}

pub(super) fn inspect(session: &Session<'_>, args: &Inspect, cancel: &Cancel, view: &View) -> Result<(), Failure> {
    let store = session.store()?;
    let found = given(session, &store, &args.reference, args.platform.as_ref(), cancel, view)?;
    let top = found.descriptor.digest;
    if args.raw {
        return raw(&store, &top, view);
    }
    let wanted = args.platform.clone().unwrap_or_else(PlatformArg::host).0;
    let image = image::image(&store, &top, (&wanted, args.platform.is_some()), &args.reference);
    if args.config || args.manifest {
        let (image, _) = image?;
        return raw(&store, if args.config { &image.config.digest } else { &image.manifest.digest }, view);
    }
    let details = image::details(&store, &top)?;
    let names = names(&store, &top)?;
    let attached = image::referrers(&store, &top)?;
    let image = match image {
        Ok(image) => Some(image),
        // An index of other machines' images, or of none, is still something to look at.
        Err(_) if details.index.is_some() && args.platform.is_none() => None,
        Err(error) => return Err(error.into()),
    };
    let text = match args.format {
        Form::Json => {
            let mut value = described(&details);
            value["names"] = json!(names);
            value["referrers"] = json!(attached);
            if let Some((image, config)) = &image {
                value["manifest"] = descriptor(&image.manifest);
                value["layers"] = image.layers.iter().map(descriptor).collect();
                value["config"] = config.clone();
            }
            value.to_string()
        }
        Form::Table => shown(&names, &details, &attached, image.as_ref()),
    };
    view.suspend(|| println(text.trim_end()))
}

fn descriptor(it: &Descriptor) -> Value {
    json!({ "mediaType": it.media_type, "digest": it.digest, "size": it.size })
}

fn names(store: &Store, digest: &Digest) -> Result<Vec<String>, Failure> {
    let tags = store.tags()?.into_iter();
    Ok(tags.filter(|(_, it)| it.digest().to_string() == digest.to_string()).map(|(name, _)| name).collect())
}

fn raw(store: &Store, digest: &Digest, view: &View) -> Result<(), Failure> {
    let path = store.path(digest);
    let bytes = std::fs::read(&path).map_err(|source| ImageError::Io { action: "read", path, source })?;
    view.suspend(|| print(&bytes))
}

/// The same for people; all of it was written by others.
fn shown(names: &[String], details: &Details, attached: &[Digest], image: Option<&(Image, Value)>) -> String {
    let mut table = Table::new(&[("", Align::Left), ("", Align::Left)]);
    let mut row = |title: &str, values: Vec<String>| {
        for (at, value) in values.into_iter().enumerate() {
            table.row([if at == 0 { title.to_owned() } else { String::new() }, clean(value.as_bytes())]);
        }
    };
    row("name", names.to_vec());
    row("digest", vec![details.descriptor.digest.to_string()]);
    row("type", vec![details.descriptor.media_type.clone()]);
    row("platform", details.platforms.iter().map(ToString::to_string).collect());
    if let Some(absent) = details.index.filter(|absent| *absent > 0) {
        row("absent", vec![format!("{absent} images of the index were never asked for")]);
    }
    row("created", details.created.iter().cloned().collect());
    row("size", vec![bytes(details.size)]);
    row("missing", details.missing.iter().map(Digest::to_string).collect());
    row("attached", attached.iter().map(Digest::to_string).collect());
    let Some((image, config)) = image else { return table.render(None) };
    if image.manifest.digest != details.descriptor.digest {
        row("manifest", vec![image.manifest.digest.to_string()]);
    }
    row("config", vec![image.config.digest.to_string()]);
    row(
        "layers",
        image.layers.iter().map(|it| format!("{} {} {}", it.digest, bytes(it.size), it.media_type)).collect(),
    );
    for (title, key) in [
        ("entrypoint", "Entrypoint"),
        ("command", "Cmd"),
        ("environment", "Env"),
        ("user", "User"),
        ("directory", "WorkingDir"),
        ("stop signal", "StopSignal"),
        ("ports", "ExposedPorts"),
        ("volumes", "Volumes"),
        ("labels", "Labels"),
    ] {
        row(title, words(key, &config["config"][key]));
    }
    table.render(None)
}

fn words(key: &str, value: &Value) -> Vec<String> {
    match value {
        Value::String(text) if !text.is_empty() => vec![text.clone()],
        Value::Array(items) if key != "Env" && !items.is_empty() => vec![value.to_string()],
        Value::Array(items) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| value.as_str().map_or_else(|| key.clone(), |value| format!("{key}={value}")))
            .collect(),
        _ => Vec::new(),
    }
}
