//! Where vertices were written down (`ops.proto Source`): for messages only, never part of a digest.

use std::ops::RangeInclusive;

use super::error::OpName;
use super::graph::{Vertex, clean};
use super::pb;
use crate::oci::Digest;

/// Lines of one file that one vertex comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span<'a> {
    /// The file, as its author calls it; not a path to open.
    pub filename: &'a str,
    /// Its text, as the front end read it.
    pub text: &'a [u8],
    /// `Dockerfile`, or another language, or nothing.
    pub language: &'a str,
    /// Its lines, from 1, in the order recorded.
    pub lines: Vec<RangeInclusive<u32>>,
}

/// Returns the spans of a vertex; indices that name nothing and lines below 1 are left out.
pub(super) fn spans<'a>(source: Option<&'a pb::Source>, digest: &Digest) -> Vec<Span<'a>> {
    let Some(source) = source else { return Vec::new() };
    let Some(found) = source.locations.get(&digest.to_string()) else { return Vec::new() };
    let span = |location: &pb::Location| {
        let info = source.infos.get(usize::try_from(location.source_index).ok()?)?;
        let lines: Vec<_> = location.ranges.iter().filter_map(lines).collect();
        Some(Span { filename: &info.filename, text: &info.data, language: &info.language, lines })
    };
    found.locations.iter().filter_map(span).filter(|span| !span.lines.is_empty()).collect()
}

fn lines(range: &pb::Range) -> Option<RangeInclusive<u32>> {
    let line = |position: Option<pb::Position>| u32::try_from(position?.line).ok().filter(|line| *line > 0);
    let first = line(range.start)?;
    Some(first..=line(range.end).unwrap_or(first).max(first))
}

impl OpName {
    pub(super) fn of(vertex: &Vertex, source: Option<&pb::Source>) -> Self {
        let place = spans(source, &vertex.digest).first().map(|span| {
            let line = span.lines.first().map_or(1, |lines| *lines.start());
            format!("{}:{line}", clean(span.filename))
        });
        Self { digest: vertex.digest, label: vertex.label(), place }
    }
}
