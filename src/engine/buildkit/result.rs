//! What an exporter left in the store, as the result of a solve.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::buildkit::Received;
use crate::cache::Output;
use crate::engine::{Embedded, EngineError};
use crate::layer::{Compression, tree_digest};
use crate::llb::{Graph, pb};
use crate::oci::{self, DiffId, Digest};
use crate::snapshot::{PackedLayer, Snapshot};
use crate::solver::{Pin, SEEN, Solved};

/// The most bytes of a manifest or a config.
const MOST: u64 = 4 << 20;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Blob {
    media_type: String,
    digest: Digest,
    size: u64,
}

#[derive(Deserialize)]
struct Manifest {
    config: Blob,
    layers: Vec<Blob>,
}

/// Makes a snapshot of layers that are in the store.
pub(super) fn solved(local: &Embedded, graph: &Graph, layers: &[PackedLayer]) -> Result<Solved, EngineError> {
    let name = graph.vertex(&graph.output().vertex).label();
    let failed = EngineError::snapshot(&name);
    let mut named = b"dockless buildkit result 1\n".to_vec();
    for layer in layers {
        named.extend_from_slice(format!("{}\n", layer.diff_id).as_bytes());
    }
    let id = Digest::of(&named);
    let known = local.store.get_record(SEEN, &id.hex())?;
    let known: Option<Output> = known.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let found = local.snapshots.get(&id.hex()).map_err(&failed)?;
    let (snapshot, content) = match (found, known) {
        (Some(snapshot), Some(known)) if known.snapshot == id => (snapshot, known.content),
        (found, _) => {
            let snapshot: Snapshot = match found {
                Some(snapshot) => snapshot,
                None => local.snapshots.import(&id, layers).map_err(&failed)?,
            };
            let tree = local.snapshots.read(&snapshot).map_err(&failed)?;
            let content = tree_digest(tree.path()).map_err(|error| failed(error.into()))?;
            let bytes = serde_json::to_vec(&Output { snapshot: id, content }).expect("plain data");
            local.store.put_hint(SEEN, &id.hex(), &bytes)?;
            (snapshot, content)
        }
    };
    Ok(Solved {
        snapshot,
        content,
        ran: 0,
        cached: 0,
        kept: Vec::new(),
        ends: Vec::new(),
        made_by: BTreeMap::new(),
        pins: pins(graph),
    })
}

/// Returns the archive that has come, as the only layer.
pub(super) fn archive(received: &Received) -> Result<Vec<PackedLayer>, String> {
    let (digest, size) = received.blob().ok_or("no archive came")?;
    let media_type = Compression::None.media_type().to_owned();
    Ok(vec![PackedLayer { digest, size, diff_id: digest, media_type }])
}

/// Reads which layers the exporter says it has sent; all of them are in the store, verified when they came.
pub(super) fn layers(local: &Embedded, response: &BTreeMap<String, String>) -> Result<Vec<PackedLayer>, String> {
    let descriptor = response.get("containerimage.descriptor").ok_or("it says nothing of an image")?;
    let descriptor = STANDARD.decode(descriptor).map_err(|error| error.to_string())?;
    let descriptor: Blob = serde_json::from_slice(&descriptor).map_err(|error| format!("its descriptor: {error}"))?;
    let wrong = |blob: &Blob, error: serde_json::Error| format!("`{}` {}: {error}", blob.media_type, blob.digest);
    let manifest: Manifest =
        serde_json::from_slice(&read(local, &descriptor)?).map_err(|error| wrong(&descriptor, error))?;
    let diff_ids = oci::diff_ids(&read(local, &manifest.config)?).map_err(|error| wrong(&manifest.config, error))?;
    if diff_ids.len() != manifest.layers.len() {
        return Err(format!("it has {} layers and {} diff IDs", manifest.layers.len(), diff_ids.len()));
    }
    let packed = |(layer, DiffId(diff_id)): (Blob, DiffId)| {
        if local.store.contains(&layer.digest) != Some(layer.size) {
            return Err(format!("the layer {} did not come", layer.digest));
        }
        let compression = match layer.media_type.rsplit(['+', '.']).next() {
            Some("gzip") => Compression::Gzip { level: 6 },
            Some("zstd") => Compression::Zstd { level: 3 },
            Some("tar") => Compression::None,
            _ => return Err(format!("the layer {} is of the unknown type `{}`", layer.digest, layer.media_type)),
        };
        let media_type = compression.media_type().to_owned();
        Ok(PackedLayer { digest: layer.digest, size: layer.size, diff_id, media_type })
    };
    manifest.layers.into_iter().zip(diff_ids).map(packed).collect()
}

/// Reads a document, of which no honest one is large.
fn read(local: &Embedded, blob: &Blob) -> Result<Vec<u8>, String> {
    use std::io::Read as _;
    let failed = |error: &dyn std::fmt::Display| format!("`{}` {}: {error}", blob.media_type, blob.digest);
    let file = local.store.read(&blob.digest).map_err(|error| failed(&error))?;
    let mut bytes = Vec::new();
    file.take(MOST + 1).read_to_end(&mut bytes).map_err(|error| failed(&error))?;
    if bytes.len() as u64 > MOST {
        return Err(failed(&format!("more than {MOST} bytes")));
    }
    Ok(bytes)
}

/// Returns what sources are that the graph names by digest; what a daemon found for the others it does not tell.
fn pins(graph: &Graph) -> BTreeMap<Digest, Pin> {
    let pin = |vertex: &crate::llb::Vertex| {
        let pb::op::Op::Source(source) = &vertex.op else { return None };
        let (_, digest) = source.identifier.rsplit_once('@')?;
        Some((vertex.digest, Pin::Sha256(digest.parse().ok()?)))
    };
    graph.vertices().filter_map(pin).collect()
}
