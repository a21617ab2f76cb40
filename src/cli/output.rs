//! `-o type=tar,dest=PATH`, as BuildKit's clients write it.

use std::path::PathBuf;
use std::str::FromStr;

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
