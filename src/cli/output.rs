//! `-o type=tar,dest=PATH`, as BuildKit's clients write it.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::failure::Failure;
use crate::export::{self, ImageLayer, ImageOptions, TarballOptions};
use crate::layer::Compression;

/// What a result becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutputType {
    Tar,
    Dir,
    Oci,
    OciArchive,
    DockerArchive,
}

/// Where and as what a result is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Output {
    pub(crate) kind: OutputType,
    pub(crate) dest: PathBuf,
}

const TYPES: [(&str, OutputType); 5] = [
    ("tar", OutputType::Tar),
    ("dir", OutputType::Dir),
    ("oci", OutputType::Oci),
    ("oci-archive", OutputType::OciArchive),
    ("docker-archive", OutputType::DockerArchive),
];

impl FromStr for Output {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (mut kind, mut dest) = (None, None);
        for part in text.split(',') {
            match part.split_once('=') {
                Some(("type", value)) => {
                    let known = TYPES.iter().find(|(name, _)| *name == value);
                    let names = TYPES.map(|(name, _)| name).join(", ");
                    kind = Some(known.ok_or_else(|| format!("unknown type `{value}`; types: {names}"))?.1);
                }
                Some(("dest", value)) if !value.is_empty() => dest = Some(PathBuf::from(value)),
                _ => return Err(format!("`{part}` is not understood; write type=TYPE,dest=PATH")),
            }
        }
        let kind = kind.ok_or("type= is missing; write type=tar,dest=PATH")?;
        let dest = dest.ok_or("dest= is missing; write type=tar,dest=PATH")?;
        Ok(Self { kind, dest })
    }
}

impl Output {
    /// Writes `tree`, which `layers` lie in, as `image` describes it.
    pub(super) fn write(&self, tree: &Path, layers: &[ImageLayer], image: &ImageOptions) -> Result<(), Failure> {
        let dest = &self.dest;
        match self.kind {
            OutputType::Tar => {
                let gzip = dest.extension().is_some_and(|ending| ending == "gz" || ending == "tgz");
                let compression = if gzip { Compression::Gzip { level: 9 } } else { Compression::None };
                let (times, owner, jobs) = (image.times, image.owner, image.jobs);
                export::tarball(
                    tree,
                    &TarballOptions { times, owner, prefix: PathBuf::new(), compression, jobs },
                    dest,
                )?
            }
            OutputType::Dir => export::directory(tree, image.times, dest)?,
            OutputType::Oci => export::oci_layout(layers, image, dest)?,
            OutputType::OciArchive => export::oci_archive(layers, image, dest)?,
            OutputType::DockerArchive => export::docker_archive(layers, image, dest)?,
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_a_type_and_a_place() {
        let parsed: Output = "type=tar,dest=a/b.tar".parse().expect("valid");
        assert_eq!((parsed.kind, parsed.dest), (OutputType::Tar, PathBuf::from("a/b.tar")));
        for (text, word) in
            [("type=zip,dest=x", "unknown type"), ("dest=x", "type="), ("type=tar", "dest="), ("x", "not understood")]
        {
            let error = text.parse::<Output>().expect_err("invalid");
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
