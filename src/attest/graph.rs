//! What goes into a definition that somebody else made.

use std::collections::BTreeMap;

use serde_json::json;

use super::input::sha256;
use super::lowered::object;
use super::{Build, DEFINITION_BUILD, DigestSet, Input, Materials, purl};
use crate::llb::{Graph, Vertex, pb, source as word};
use crate::oci::Digest;
use crate::registry::Reference;

/// Returns what `graph` is made of: every source, with the digest that it names itself or that `resolved` knows by the
/// digest of its vertex. Nothing is known of what is in the result; [`super::of_tree`] looks.
///
/// Addresses lose user names and passwords; what a build asks for must not publish them.
pub fn of_graph(graph: &Graph, resolved: &BTreeMap<Digest, DigestSet>) -> Materials {
    let inputs = graph.vertices().filter_map(|vertex| {
        let pb::op::Op::Source(source) = &vertex.op else { return None };
        let mut input = input(source, vertex);
        if let Some(known) = resolved.get(&vertex.digest) {
            input.digest.extend(known.clone());
        }
        Some(input)
    });
    let external = json!({ "definition": Digest::of(&graph.to_bytes()).to_string() });
    let internal = json!({ "vertices": graph.len() });
    let build = Build { kind: DEFINITION_BUILD, external: object(external), internal: object(internal) };
    Materials { build, inputs: inputs.collect(), components: Vec::new(), tools: Vec::new() }
}

fn input(source: &pb::SourceOp, vertex: &Vertex) -> Input {
    let identifier = source.identifier.as_str();
    let (scheme, rest) = identifier.split_once("://").unwrap_or(("", identifier));
    let attribute = |name: &str| source.attrs.get(name).map(String::as_str);
    match scheme {
        word::IMAGE => image(rest, attribute(word::IMAGE_CHECKSUM), vertex.platform.as_ref()),
        word::IMAGE_BLOB | word::LAYOUT | word::LAYOUT_BLOB => {
            Input { uri: identifier.to_owned(), digest: named(rest), ..Input::default() }
        }
        word::GIT => git(rest, attribute(word::GIT_FULL_URL), attribute(word::GIT_CHECKSUM)),
        word::HTTP | word::HTTPS => {
            let uri = plain(identifier);
            let digest = attribute(word::HTTP_CHECKSUM).map(checksum).unwrap_or_default();
            Input { location: Some(uri.clone()), uri, digest, ..Input::default() }
        }
        word::LOCAL => Input { uri: identifier.to_owned(), name: Some(rest.to_owned()), ..Input::default() },
        // Schemes that nobody knows are refused before anything runs.
        _ => Input { uri: plain(identifier), ..Input::default() },
    }
}

/// An image as BuildKit's provenance names it: `pkg:docker/library/debian@bookworm?digest=sha256:…&platform=linux%2Famd64`.
fn image(text: &str, checksum: Option<&str>, platform: Option<&pb::Platform>) -> Input {
    let digest = named(&format!("@{}", checksum.unwrap_or_default()));
    let digest = if digest.is_empty() { named(text) } else { digest };
    let Ok(reference) = text.parse::<Reference>() else {
        return Input { uri: format!("{}://{text}", word::IMAGE), digest, ..Input::default() };
    };
    let (mut namespace, name) = reference.repository().rsplit_once('/').unwrap_or(("", reference.repository()));
    let with_registry = format!("{}/{namespace}", reference.registry());
    if reference.registry() != "docker.io" {
        namespace = &with_registry;
    }
    let known = digest.get("sha256").map(|hex| format!("sha256:{hex}")).unwrap_or_default();
    let platform = platform.map(|p| {
        let parts = [&p.os, &p.architecture, &p.variant];
        parts.into_iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join("/")
    });
    let qualifiers = [("digest", known.as_str()), ("platform", platform.as_deref().unwrap_or_default())];
    let uri = purl("docker", namespace, name, reference.tag().unwrap_or_default(), &qualifiers);
    Input { uri, digest, ..Input::default() }
}

/// A repository: `git+https://host/repository@reference`, with the commit where the definition pins it.
fn git(rest: &str, full: Option<&str>, checksum: Option<&str>) -> Input {
    let (short, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let reference = fragment.split(':').next().unwrap_or_default();
    let remote = full.map_or_else(|| format!("https://{short}"), str::to_owned);
    let remote = plain(remote.split('#').next().unwrap_or_default());
    let at = if reference.is_empty() { String::new() } else { format!("@{reference}") };
    let uri = format!("git+{remote}{at}");
    let is_commit = |name: &&str| matches!(name.len(), 40 | 64) && name.bytes().all(|b| b.is_ascii_hexdigit());
    match checksum.into_iter().chain([reference]).find(is_commit) {
        Some(commit) => Input::commit(&uri, commit),
        None => Input { uri, ..Input::default() },
    }
}

/// The digest after `@`.
fn named(text: &str) -> DigestSet {
    text.rsplit_once('@').map(|(_, digest)| checksum(digest)).unwrap_or_default()
}

fn checksum(text: &str) -> DigestSet {
    text.parse::<Digest>().map(sha256).unwrap_or_default()
}

/// Takes user name and password out of an address; `ssh` keeps its user, who is no secret and part of the address.
fn plain(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else { return address.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let Some((user, host)) = authority.rsplit_once('@') else { return address.to_owned() };
    match user.split_once(':') {
        None if scheme == "ssh" => address.to_owned(),
        Some((user, _)) if scheme == "ssh" => format!("{scheme}://{user}@{host}{path}"),
        _ => format!("{scheme}://{host}{path}"),
    }
}
