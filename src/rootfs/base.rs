//! A root filesystem that is an image of a registry: `rootfs/<name>.toml` with `image`, and its lock.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use super::error::RootfsError;
use crate::oci::{Arch, Digest, Reference, ReferenceError};

/// What people write; there is nothing else to say.
///
/// ```toml
/// image = "docker.io/library/debian:bookworm"     # or with @sha256:…, which needs no lock
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// The image, written out: `debian` is `docker.io/library/debian:latest`.
    pub image: Reference,
    /// The digest of a manifest or an index, where it is named by one.
    pub digest: Option<Digest>,
}

/// What a tag named when it was resolved: written by `dockless lock --update rootfs/<name>`.
///
/// ```toml
/// image = "docker.io/library/debian:bookworm"
/// digest = "sha256:…"                     # of the index, or of the manifest where there is only one
///
/// [platform]                              # the manifest for each platform that we build on and the image has
/// "linux/386" = "sha256:…"
/// "linux/amd64" = "sha256:…"
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseLock {
    /// What was resolved, as in the list.
    pub image: Reference,
    /// What the reference named.
    pub digest: Digest,
    /// Manifests.
    pub platforms: BTreeMap<Arch, Digest>,
}

/// An image and its lock, together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseImage {
    /// Its name, which is that of its files without their endings.
    pub name: String,
    /// `<name>.toml`.
    pub base: Base,
    /// `<name>.lock`, where there is one.
    pub lock: Option<BaseLock>,
}

/// What a list of packages says (`List`); beside an image none of it means anything.
const OF_PACKAGES: [&str; 8] = ["suite", "arch", "packages", "remove", "merge", "links", "directories", "files"];

impl Base {
    /// Reads a `rootfs/<name>.toml`; `None` where it names no image and so is a list of packages.
    ///
    /// # Errors
    /// `Text`.
    pub fn parse(text: &str, origin: &Path) -> Result<Option<Self>, RootfsError> {
        let at = |span, message: String, help: &str| RootfsError::at(origin, text, span, message, help);
        let keys: BTreeMap<Spanned<String>, Spanned<toml::Value>> = toml::from_str(text).map_err(|error| {
            let message = error.message().trim().replace('\n', ", ");
            at(error.span().unwrap_or_default(), message, "a root filesystem's file is TOML (toml.io)")
        })?;
        let Some(image) = keys.iter().find_map(|(key, value)| (key.get_ref() == "image").then_some(value)) else {
            return Ok(None);
        };
        if let Some(key) = keys.keys().find(|key| key.get_ref() != "image") {
            let name = key.get_ref();
            return Err(if OF_PACKAGES.contains(&name.as_str()) {
                let message = format!("`{name}` beside `image`: a root filesystem is an image or made of packages");
                at(key.span(), message, "remove one of the two; what an image lacks a recipe's script can bring")
            } else {
                at(key.span(), format!("unknown key `{name}`"), "beside `image` there is nothing to say: remove it")
            });
        }
        let wrong = |message: String| at(image.span(), message, "for example \"docker.io/library/debian:bookworm\"");
        let Some(reference) = image.get_ref().as_str() else {
            return Err(wrong("`image` is the name of an image, in quotes".to_owned()));
        };
        parse(reference).map(Some).map_err(wrong)
    }
}

fn parse(text: &str) -> Result<Base, String> {
    let image: Reference =
        text.parse().map_err(|error: ReferenceError| format!("`{text}` is not an image reference: {error}"))?;
    let digest = image.digest().map(|digest| digest.parse().expect("references have our digests"));
    Ok(Base { image, digest })
}

impl BaseImage {
    /// Reads both texts and checks that they belong together; `None` where the first is a list of packages.
    ///
    /// # Errors
    /// `Text`, `Toml`, `Value`, `Stale`.
    pub fn parse(name: &str, directory: &Path, toml: &str, lock: Option<&str>) -> Result<Option<Self>, RootfsError> {
        let Some(base) = Base::parse(toml, &directory.join(format!("{name}.toml")))? else { return Ok(None) };
        let lock = lock.map(|lock| BaseLock::parse(lock, &directory.join(format!("{name}.lock")))).transpose()?;
        if let Some(lock) = lock.as_ref().filter(|lock| lock.image != base.image) {
            let why = format!("it is for `{}`, the file says `{}`", lock.image, base.image);
            return Err(RootfsError::Stale { name: name.to_owned(), why });
        }
        Ok(Some(Self { name: name.to_owned(), base, lock }))
    }

    /// Returns what a graph calls the image by architecture, `docker.io/library/debian:bookworm@sha256:…`: nothing
    /// where only a tag is known, since a tag is something else every day.
    pub fn pins(&self) -> BTreeMap<Arch, Reference> {
        let image = &self.base.image;
        let tag = image.tag().map(|tag| format!(":{tag}")).unwrap_or_default();
        let pinned = |digest: &Digest| -> Reference {
            let text = format!("{}/{}{tag}@{digest}", image.registry(), image.repository());
            text.parse().expect("its parts were read from a reference")
        };
        match (&self.lock, &self.base.digest) {
            (Some(lock), _) => lock.platforms.iter().map(|(arch, digest)| (*arch, pinned(digest))).collect(),
            (None, Some(digest)) => Arch::ALL.iter().map(|arch| (*arch, pinned(digest))).collect(),
            (None, None) => BTreeMap::new(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    image: String,
    digest: Digest,
    platform: BTreeMap<String, Digest>,
}

impl BaseLock {
    /// Reads a lock; `origin` is the file for messages.
    ///
    /// # Errors
    /// `Toml`, `Value`.
    pub fn parse(text: &str, origin: &Path) -> Result<Self, RootfsError> {
        let raw: Raw = toml::from_str(text)
            .map_err(|source| RootfsError::Toml { path: origin.to_owned(), source: Box::new(source) })?;
        let wrong =
            |what, value: &str, why| RootfsError::Value { path: origin.to_owned(), what, value: value.to_owned(), why };
        let base = parse(&raw.image).map_err(|_| wrong("image", &raw.image, "not an image reference"))?;
        if base.digest.is_some_and(|digest| digest != raw.digest) {
            return Err(wrong("digest", &raw.digest.to_string(), "not the one that the image is named by"));
        }
        let mut platforms = BTreeMap::new();
        for (platform, digest) in raw.platform {
            let arch = platform.strip_prefix("linux/").and_then(Arch::from_oci);
            let arch = arch.ok_or_else(|| wrong("platform", &platform, "use linux/amd64 or linux/386"))?;
            platforms.insert(arch, digest);
        }
        if platforms.is_empty() {
            return Err(wrong("platform", "{}", "an image without a platform serves nobody"));
        }
        Ok(Self { image: base.image, digest: raw.digest, platforms })
    }

    /// Returns the lock as the text of its file; `name` is the root filesystem's.
    pub fn to_toml(&self, name: &str) -> String {
        let platforms: BTreeMap<&str, &Digest> =
            self.platforms.iter().map(|(arch, digest)| (arch.oci(), digest)).collect();
        let lines: Vec<String> =
            platforms.iter().map(|(arch, digest)| format!("\"linux/{arch}\" = \"{digest}\"\n")).collect();
        let lines = lines.concat();
        // Neither references nor digests have characters that would need to be escaped.
        format!(
            "# Written by `dockless lock --update rootfs/{name}`; do not edit.\n\
             image = \"{}\"\ndigest = \"{}\"\n\n[platform]\n{lines}",
            self.image, self.digest
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(toml: &str, lock: Option<&str>) -> Result<Option<BaseImage>, RootfsError> {
        BaseImage::parse("debian", Path::new("rootfs"), toml, lock)
    }

    fn lock() -> BaseLock {
        BaseLock {
            image: "debian:bookworm".parse().expect("a reference"),
            digest: Digest::of(b"index"),
            platforms: [(Arch::X86_64, Digest::of(b"amd64")), (Arch::X86, Digest::of(b"386"))].into(),
        }
    }

    #[test]
    fn a_lock_reads_as_it_was_written_and_pins_each_platform() {
        let text = lock().to_toml("debian");
        assert_eq!(BaseLock::parse(&text, Path::new("l")).expect("its own text"), lock());
        let image =
            read("image = 'docker.io/library/debian:bookworm'\n", Some(&text)).expect("fits").expect("an image");
        let pins: Vec<String> = image.pins().values().map(ToString::to_string).collect();
        assert_eq!(pins[0], format!("docker.io/library/debian:bookworm@{}", Digest::of(b"amd64")));
        let stale = read("image = 'debian:trixie'\n", Some(&text)).expect_err("another tag");
        assert!(matches!(stale, RootfsError::Stale { .. }), "{stale}");
    }

    #[test]
    fn a_digest_needs_no_lock_and_a_tag_does() {
        let digest = Digest::of(b"x");
        let image = read(&format!("image = 'debian@{digest}'\n"), None).expect("reads").expect("an image");
        let pins: Vec<String> = image.pins().values().map(ToString::to_string).collect();
        assert_eq!(pins, [format!("docker.io/library/debian@{digest}"), format!("docker.io/library/debian@{digest}")]);
        assert!(read("image = 'debian:bookworm'\n", None).expect("reads").expect("an image").pins().is_empty());
        assert!(read("suite = 'bookworm'\n", None).expect("not ours").is_none());
    }

    #[test]
    fn what_is_wrong_is_shown_where_it_is() {
        for (text, shown, word) in [
            ("image = 'a:b'\npackages = ['gcc']\n", "packages", "an image or made of packages"),
            ("suite = 'bookworm'\nimage = 'a:b'\n", "suite", "an image or made of packages"),
            ("imago = 'x'\nimage = 'a:b'\n", "imago", "unknown key"),
            ("image = 'UPPER'\n", "'UPPER'", "not an image reference"),
            ("image = 3\n", "3", "in quotes"),
            ("image = 'a@sha512:00'\n", "'a@sha512:00'", "a@sha512"),
        ] {
            let error = read(text, None).expect_err(text);
            let RootfsError::Text { picture, .. } = &error else { panic!("{error}") };
            assert_eq!(&picture.text[picture.span.clone()], shown, "{error}");
            assert!(error.to_string().contains(word), "{error}");
        }
    }

    #[test]
    fn a_lock_with_anything_amiss_is_refused() {
        let text = lock().to_toml("x");
        for (from, to) in [
            ("linux/386", "linux/riscv64"),
            ("linux/386", "windows/amd64"),
            ("digest = \"sha256:", "digest = \"sha256:0"),
            ("debian:bookworm", "DEBIAN"),
            ("[platform]", "[platforms]"),
            ("image = ", "suite = 'x'\nimage = "),
        ] {
            assert!(text.contains(from), "{from}");
            assert!(BaseLock::parse(&text.replacen(from, to, 1), Path::new("l")).is_err(), "{to}");
        }
    }
}
