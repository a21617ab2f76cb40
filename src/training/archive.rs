//! An archive of counts.

use std::collections::BTreeMap;
use std::io::{self, Read};

use liblzma::read::XzDecoder;
use liblzma::stream::Stream;

use super::{Function, TrainingError, functions};

/// Memory that decompression may take, in bytes: ten times what `xz -9` asks for.
const MEMORY: u64 = 1 << 30;

/// Bytes that an archive may unpack to; CPython's are below 10 MiB.
const LARGEST: u64 = 64 << 20;

/// What a training run counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Release of gcc, `12.2.0`.
    pub compiler: String,
    /// Level of optimisation that was counted with, `-O3`.
    pub level: String,
    /// Functions by object and number. A number may be there twice: for bodies that the compiler copied. They are one here.
    pub objects: BTreeMap<String, BTreeMap<u32, Function>>,
}

/// Counts in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Object files.
    pub objects: u64,
    /// Functions of these.
    pub functions: u64,
    /// Functions that ran.
    pub executed: u64,
    /// Sum of all counters of edges.
    pub count: u64,
}

impl Counts {
    /// Reads a `.tar.xz` of .gcda files.
    pub fn read(archive: impl Read) -> Result<Self, TrainingError> {
        let stream = Stream::new_stream_decoder(MEMORY, 0).map_err(io::Error::from)?;
        let mut unpacked = Vec::new();
        XzDecoder::new_stream(archive, stream).take(LARGEST + 1).read_to_end(&mut unpacked)?;
        if unpacked.len() as u64 > LARGEST {
            return Err(TrainingError::TooLarge { limit: LARGEST });
        }
        let mut counts = Self::default();
        for member in tar::Archive::new(&unpacked[..]).entries()? {
            let mut member = member?;
            let name = String::from_utf8_lossy(&member.path_bytes()).trim_start_matches("./").to_owned();
            let mut bytes = Vec::new();
            member.read_to_end(&mut bytes)?;
            if name == "compiler" {
                let release = String::from_utf8_lossy(&bytes).trim().to_owned();
                if release.is_empty() || !release.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
                    return Err(TrainingError::Member { name, why: "is not the release of a compiler" });
                }
                counts.compiler = release;
            } else if name == "level" {
                let level = String::from_utf8_lossy(&bytes).trim().to_owned();
                if !matches!(level.as_bytes(), [b'-', b'O', b'0'..=b'3' | b's']) {
                    return Err(TrainingError::Member { name, why: "is no level of optimisation" });
                }
                counts.level = level;
            } else if let Some(object) = name.strip_suffix(".gcda") {
                let read = functions(&bytes).map_err(|why| TrainingError::Member { name: name.clone(), why })?;
                let known = counts.objects.entry(object.to_owned()).or_default();
                for function in read {
                    let entry = known.entry(function.ident).or_insert(Function { count: 0, ..function });
                    entry.count = entry.count.saturating_add(function.count);
                }
            } else {
                return Err(TrainingError::Member { name, why: "does not belong there" });
            }
        }
        if counts.objects.is_empty() {
            return Err(TrainingError::Empty);
        }
        if counts.compiler.is_empty() {
            let name = "compiler".to_owned();
            return Err(TrainingError::Member { name, why: "is missing" });
        }
        if counts.level.is_empty() {
            // What profiles were trained with before they said so.
            "-O2".clone_into(&mut counts.level);
        }
        Ok(counts)
    }

    /// Counts the counts.
    pub fn totals(&self) -> Totals {
        let all = || self.objects.values().flat_map(BTreeMap::values);
        Totals {
            objects: self.objects.len() as u64,
            functions: all().count() as u64,
            executed: all().filter(|function| function.count > 0).count() as u64,
            count: all().fold(0, |sum, function| sum.saturating_add(function.count)),
        }
    }
}
