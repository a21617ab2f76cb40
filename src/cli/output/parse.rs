//! Reading an output from the command line.

use std::path::PathBuf;
use std::str::FromStr;

use super::keys::{self, Keys, Push};

/// What a result becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutputType {
    Tar,
    Dir,
    Oci,
    OciArchive,
    DockerArchive,
    Image,
    Registry,
}

/// Where and as what a result is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Output {
    pub(crate) kind: OutputType,
    /// Where to; `None` for standard output, and where nothing is written.
    pub(crate) dest: Option<PathBuf>,
    pub(crate) keys: Keys,
}

/// Names of types; the first of each is ours, the others are BuildKit's and docker's.
const TYPES: [(&str, OutputType); 9] = [
    ("tar", OutputType::Tar),
    ("dir", OutputType::Dir),
    ("local", OutputType::Dir),
    ("oci", OutputType::Oci),
    ("oci-archive", OutputType::OciArchive),
    ("docker-archive", OutputType::DockerArchive),
    ("docker", OutputType::DockerArchive),
    ("image", OutputType::Image),
    ("registry", OutputType::Registry),
];

impl OutputType {
    const fn keys(self) -> &'static [&'static [&'static str]] {
        match self {
            Self::Tar => &[keys::TAR],
            Self::Dir => &[],
            Self::Oci | Self::OciArchive => &[keys::IMAGE, keys::FILE],
            Self::DockerArchive => &[keys::DOCKER],
            Self::Image | Self::Registry => &[keys::IMAGE, keys::PUSHED],
        }
    }

    /// Tells whether it is an image, which has names.
    pub(super) const fn is_image(self) -> bool {
        !matches!(self, Self::Tar | Self::Dir)
    }

    /// Tells whether it is one file.
    pub(super) const fn is_file(self) -> bool {
        matches!(self, Self::Tar | Self::OciArchive | Self::DockerArchive)
    }
}

impl FromStr for Output {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fields = fields(text)?;
        // As docker has it: a place alone is a directory, `-` alone a tar.
        if let [field] = fields.as_slice()
            && !field.contains('=')
            && !field.is_empty()
        {
            let (kind, dest) = match field.as_str() {
                "-" => (OutputType::Tar, None),
                path => (OutputType::Dir, Some(PathBuf::from(path))),
            };
            return Ok(Self { kind, dest, keys: Keys::default() });
        }
        let (mut kind, mut dest, mut rest) = (None, None, Vec::new());
        for field in &fields {
            let (key, value) = field.split_once('=').unwrap_or((field, ""));
            match key {
                "type" => {
                    let known = TYPES.iter().find(|(name, _)| *name == value);
                    let names = TYPES.map(|(name, _)| name).join(", ");
                    kind = Some(known.ok_or_else(|| format!("unknown type `{value}`; types: {names}"))?.1);
                }
                "dest" => dest = Some(value.to_owned()),
                "" => return Err(format!("`{field}` is not understood; write type=TYPE,dest=PATH")),
                key => rest.push((key, value)),
            }
        }
        let mut kind = kind.ok_or("type= is missing; write type=tar,dest=PATH")?;
        let mut keys = Keys::default();
        for (key, value) in rest {
            keys.take(key, value, kind.keys())?;
        }
        keys.check()?;
        match (kind, keys.tar) {
            (OutputType::Oci, Some(true)) => kind = OutputType::OciArchive,
            (OutputType::OciArchive, Some(false)) => kind = OutputType::Oci,
            (OutputType::DockerArchive, Some(false)) => {
                return Err("a docker archive is a tar; for a directory write type=oci".to_owned());
            }
            _ => {}
        }
        let dest = place(kind, dest.as_deref())?;
        if kind == OutputType::Registry {
            keys.push = keys.push.or(Some(Push::Tag));
        }
        Ok(Self { kind, dest, keys })
    }
}

/// Checks where a result goes.
fn place(kind: OutputType, dest: Option<&str>) -> Result<Option<PathBuf>, String> {
    match dest {
        Some("") => Err("dest= names no place; write type=tar,dest=PATH".to_owned()),
        // What is one file may go to standard output.
        None | Some("-") if kind.is_file() => Ok(None),
        None | Some("-") if kind == OutputType::Oci => {
            Err("dest= is missing: a directory; for one file write type=oci-archive".to_owned())
        }
        None | Some("-") if kind == OutputType::Dir => Err("dest= is missing; write type=dir,dest=PATH".to_owned()),
        None => Ok(None),
        Some(dest) if matches!(kind, OutputType::Image | OutputType::Registry) => {
            Err(format!("dest={dest} is not for images in the store or a registry; write name=NAME"))
        }
        Some(dest) => Ok(Some(PathBuf::from(dest))),
    }
}

/// Splits at commas; a field in double quotes may hold some, and `""` for a quote (RFC 4180).
fn fields(text: &str) -> Result<Vec<String>, String> {
    let mut fields = vec![String::new()];
    let (mut quoted, mut chars) = (false, text.chars().peekable());
    while let Some(next) = chars.next() {
        let field = fields.last_mut().expect("begins with one");
        match next {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' if quoted => {
                quoted = false;
                if chars.peek().is_some_and(|next| *next != ',') {
                    return Err(format!("a quote ends inside a field of `{text}`"));
                }
            }
            '"' if field.is_empty() => quoted = true,
            ',' if !quoted => fields.push(String::new()),
            other => field.push(other),
        }
    }
    if quoted { Err(format!("a quote does not end in `{text}`")) } else { Ok(fields) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::{ImageOptions, MediaTypes};
    use crate::layer::Compression;
    use crate::oci::Arch;

    fn parsed(text: &str) -> Output {
        text.parse().expect(text)
    }

    #[test]
    fn outputs_are_a_type_and_a_place() {
        for (text, kind, dest) in [
            ("type=tar,dest=a/b.tar", OutputType::Tar, Some("a/b.tar")),
            ("type=tar", OutputType::Tar, None),
            ("type=docker,dest=-", OutputType::DockerArchive, None),
            ("type=local,dest=x", OutputType::Dir, Some("x")),
            ("out", OutputType::Dir, Some("out")),
            ("-", OutputType::Tar, None),
            ("type=oci,dest=x", OutputType::Oci, Some("x")),
            ("type=oci,tar=true", OutputType::OciArchive, None),
            ("type=oci-archive,tar=false,dest=x", OutputType::Oci, Some("x")),
            ("type=image,name=a", OutputType::Image, None),
        ] {
            let output = parsed(text);
            assert_eq!((output.kind, output.dest), (kind, dest.map(PathBuf::from)), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_with_an_output_is_said_with_a_way_out() {
        for (text, word) in [
            ("type=zip,dest=x", "unknown type `zip`; types: tar, dir"),
            ("dest=x", "type="),
            ("type=oci", "oci-archive"),
            ("type=dir", "dest="),
            ("type=tar,dest=", "dest="),
            ("type=tar,dest=x,name=y", "keys here: type, dest, compression, compression-level"),
            ("type=oci,dest=x,nmae=y", "unknown key `nmae`; keys here: type, dest, name,"),
            ("type=docker,annotation.a=b", "unknown key `annotation.a`"),
            ("type=oci,dest=x,annotation-manifets.a=b", "annotation-manifest.KEY"),
            ("type=registry,name=a,dest=b", "write name=NAME"),
            ("type=image,name=Python", "cannot name an image"),
            ("type=image,dest=x", "name="),
            ("type=oci,dest=x,compression=bzip2", "uncompressed, gzip, zstd"),
            ("type=oci,dest=x,compression-level=10", "1 to 9"),
            ("type=oci,dest=x,compression=zstd,compression-level=20", "1 to 19"),
            ("type=oci,dest=x,compression=zstd,oci-mediatypes=false", "zstd needs oci-mediatypes=true"),
            ("type=oci,dest=x,annotation.a=b,oci-mediatypes=0", "annotations need"),
            ("type=image,push=maybe,name=a", "neither true nor false"),
            ("type=oci,\"dest=x", "does not end"),
        ] {
            let error = text.parse::<Output>().expect_err(text);
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn keys_go_over_what_the_result_says_of_itself() {
        let output = parsed(
            "type=oci,dest=x,\"name=a:1,r.test/b\",compression=zstd,compression-level=9,force-compression=true,\
             annotation.k=1,annotation-index.i=2,annotation[linux/386].no=3,annotation-manifest[linux/amd64].yes=4,\
             \"annotation-manifest-descriptor.d=5,6\",label.l=7",
        );
        let mut image = ImageOptions::new(Arch::X86_64);
        output.keys.apply(&mut image);
        assert_eq!(image.names, ["a:1", "r.test/b"]);
        assert_eq!(image.compression, Compression::Zstd { level: 9 });
        assert!(image.force_compression);
        assert_eq!(image.media_types, MediaTypes::Oci);
        let keys = |map: &std::collections::BTreeMap<String, String>| {
            map.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>()
        };
        assert_eq!(keys(&image.annotations.manifest), ["k=1", "yes=4"]);
        assert_eq!(keys(&image.annotations.manifest_descriptor), ["d=5,6"]);
        assert_eq!(keys(&image.annotations.index), ["i=2"]);
        assert_eq!(keys(&image.labels), ["l=7"]);
    }
}
