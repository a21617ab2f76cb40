//! Images as a user names them: in the store, or somewhere else as skopeo writes it (`containers-transports(5)`).

use std::fs::File;
use std::path::Path;
use std::str::FromStr;

use super::failure::Failure;
use super::image::told;
use super::progress::View;
use super::session::{Session, stop};
use crate::image::{self, Archive, ImageError, Name, Naming, Wanted};
use crate::registry::{Descriptor, Layout, Platform};
use crate::sandbox::Cancel;
use crate::store::Store;

/// One platform: `linux/386`, or a processor alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlatformArg(pub(super) Platform);

/// One platform, or `all`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlatformsArg(pub(super) Wanted);

impl PlatformArg {
    /// The platform of this machine, for which most images are made.
    pub(super) fn host() -> Self {
        Self(Platform::new("linux", std::env::consts::ARCH, ""))
    }
}

impl FromStr for PlatformArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split('/').collect();
        let plain = |part: &&str| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
        };
        if !parts.iter().all(plain) {
            return Err("write OS/ARCHITECTURE[/VARIANT], e.g. linux/386".to_owned());
        }
        match parts[..] {
            [architecture] => Ok(Self(Platform::new("linux", processor(architecture), ""))),
            [os, architecture] => Ok(Self(Platform::new(os, processor(architecture), ""))),
            [os, architecture, variant] => Ok(Self(Platform::new(os, processor(architecture), variant))),
            _ => Err("write OS/ARCHITECTURE[/VARIANT], e.g. linux/386".to_owned()),
        }
    }
}

/// The names that we have for our own, besides those that every registry knows.
fn processor(name: &str) -> &str {
    match name {
        "x86" | "i686" => "386",
        other => other,
    }
}

impl FromStr for PlatformsArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => Ok(Self(Wanted::All)),
            one => Ok(Self(Wanted::One(one.parse::<PlatformArg>()?.0))),
        }
    }
}

/// An image that is in the store.
#[derive(Debug, Clone)]
pub(super) struct Given {
    /// Its manifest or index.
    pub(super) descriptor: Descriptor,
    /// What it is called.
    pub(super) name: Option<Name>,
}

/// Finds what a user means; what is elsewhere is brought into the store, without a name there.
pub(super) fn given(
    session: &Session<'_>,
    store: &Store,
    text: &str,
    platform: Option<&PlatformArg>,
    cancel: &Cancel,
    view: &View,
) -> Result<Given, Failure> {
    let platform = platform.cloned().unwrap_or_else(PlatformArg::host).0;
    if let Some(rest) = text.strip_prefix("docker://") {
        let name: Name = rest.parse()?;
        let registry = session.registry(cancel)?;
        let descriptor = image::pull(&registry, &name, &Wanted::One(platform), store, told(view))?;
        image::loose(store, &descriptor.digest, rest)?;
        return Ok(Given { descriptor, name: Some(name) });
    }
    if let Some(rest) = text.strip_prefix("oci:") {
        let (path, tag) = place(rest);
        let layout = Layout::open(Path::new(path), stop(cancel)).map_err(ImageError::from)?;
        let descriptor = layout.import(tag, None, &platform, store).map_err(ImageError::from)?.manifest;
        image::loose(store, &descriptor.digest, text)?;
        return Ok(Given { descriptor, name: tag.and_then(|tag| tag.parse().ok()) });
    }
    if let Some(rest) = text.strip_prefix("oci-archive:").or(text.strip_prefix("docker-archive:")) {
        return archive(store, text, rest, cancel);
    }
    let descriptor = image::find(store, text)?;
    // A digest is no name, also where one could be called so.
    let is_name = store.resolve(text).map_err(ImageError::from)?.is_some()
        || text.parse::<Name>().is_ok_and(|name| store.resolve(&name.to_string()).ok().flatten().is_some());
    Ok(Given { descriptor, name: text.parse().ok().filter(|_| is_name) })
}

fn archive(store: &Store, text: &str, rest: &str, cancel: &Cancel) -> Result<Given, Failure> {
    let (path, wanted) = place(rest);
    let failed = |source| ImageError::Io { action: "open", path: path.into(), source };
    let mut file = File::open(path).map_err(failed)?;
    let what = format!("archive `{path}`");
    let loaded = image::load(Archive::Stream(&mut file, &what), Naming::Without, store, &stop(cancel))?;
    let wanted: Option<Name> = wanted.map(str::parse).transpose()?;
    let names: Vec<String> = loaded.iter().flat_map(|image| &image.names).map(Name::to_string).collect();
    let mut fitting = loaded.into_iter().filter(|image| wanted.as_ref().is_none_or(|name| image.names.contains(name)));
    match (fitting.next(), fitting.next()) {
        (Some(image), None) => {
            let name = wanted.or(image.names.into_iter().next());
            Ok(Given { descriptor: image.descriptor, name })
        }
        (None, _) => Err(ImageError::Unknown { name: text.to_owned(), near: names }.into()),
        (Some(_), Some(_)) => {
            let reason = format!("it has several images; add `:` and one of: {}", names.join(", "));
            Err(ImageError::Archive { what, reason }.into())
        }
    }
}

/// Splits `PATH[:NAME]`; a path may hold colons where such a file is there.
fn place(text: &str) -> (&str, Option<&str>) {
    if Path::new(text).exists() {
        return (text, None);
    }
    text.match_indices(':')
        .map(|(at, _)| (&text[..at], Some(&text[at + 1..])))
        .find(|(path, _)| Path::new(path).exists())
        .unwrap_or((text, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_are_known_by_the_names_of_the_field() {
        for (text, full) in [
            ("linux/amd64", "linux/amd64"),
            ("linux/x86_64", "linux/amd64"),
            ("x86", "linux/386"),
            ("386", "linux/386"),
            ("linux/arm/v7", "linux/arm/v7"),
            ("linux/arm64/v8", "linux/arm64"),
        ] {
            assert_eq!(text.parse::<PlatformArg>().expect(text).0.to_string(), full);
        }
        for text in ["", "/", "linux/", "a/b/c/d", "linux/a b"] {
            assert!(text.parse::<PlatformArg>().is_err(), "{text}");
        }
        assert_eq!("all".parse(), Ok(PlatformsArg(Wanted::All)));
    }
}
