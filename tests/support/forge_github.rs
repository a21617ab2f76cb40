//! The part of GitHub's REST interface that releases and issues take (`docs.github.com rest/releases`,
//! `rest/releases/assets`, `rest/git/refs`, `rest/issues`).

use dockless::oci::Digest;
use serde_json::{Value, json};

use super::forge::{File, READER, Release, State, TOKEN, missing, target};
use crate::fetching_server::Request;

type Answered = (&'static str, Value);

fn asset(file: &File, mute: bool) -> Value {
    let digest = if mute { Value::Null } else { Digest::of(&file.bytes).to_string().into() };
    let state = if file.whole { "uploaded" } else { "starter" };
    json!({ "id": file.id, "name": file.name, "size": file.bytes.len(), "state": state, "digest": digest })
}

fn shown(release: &Release, request: &Request, immutable: bool) -> Value {
    let host = request.headers.get("host").cloned().unwrap_or_default();
    let mut document = release.document.clone();
    document["id"] = release.id.into();
    document["tag_name"] = release.tag.as_str().into();
    document["draft"] = release.draft.into();
    document["immutable"] = immutable.into();
    document["assets"] = release.files.iter().map(|file| asset(file, false)).collect();
    document["html_url"] = format!("https://hub.test/o/r/releases/{}", release.id).into();
    document["upload_url"] = format!("http://{host}/repos/o/r/releases/{}/assets{{?name,label}}", release.id).into();
    document
}

#[expect(clippy::too_many_lines, reason = "an arm for each address is how the interface is documented")]
pub(crate) fn answer(state: &mut State, request: &Request, half: bool) -> Answered {
    let token = request.headers.get("authorization").cloned().unwrap_or_default();
    if token != format!("Bearer {TOKEN}") && token != format!("Bearer {READER}") {
        // Some servers repeat what they were told.
        return ("401 Unauthorized", json!({ "message": format!("Bad credentials {token}") }));
    }
    if request.method != "GET" && token.contains(READER) {
        return ("403 Forbidden", json!({ "message": "Resource not accessible by integration" }));
    }
    let (segments, query) = target(request);
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    // Where GitHub is one's own, its interface is below this.
    let segments = segments.strip_prefix(&["api", "v3"]).unwrap_or(&segments);
    let ["repos", "o", "r", rest @ ..] = segments else { return missing() };
    let page_two = query.get("page").is_some_and(|page| page != "1");
    let immutable = state.immutable;
    let document: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    match (request.method.as_str(), rest) {
        ("GET", []) => ("200 OK", json!({ "full_name": "o/r" })),
        ("GET", ["git", "ref", "tags", tag]) => match state.tags.get(*tag) {
            // Annotated ones are objects of their own.
            Some(commit) if tag.starts_with('v') => {
                ("200 OK", json!({ "object": { "type": "tag", "sha": format!("of-{commit}") } }))
            }
            Some(commit) => ("200 OK", json!({ "object": { "type": "commit", "sha": commit } })),
            None => missing(),
        },
        ("GET", ["git", "tags", object]) => {
            ("200 OK", json!({ "object": { "type": "commit", "sha": object.trim_start_matches("of-") } }))
        }
        ("GET", ["releases", "tags", tag]) => {
            match state.releases.iter().find(|release| release.tag == *tag && !release.draft) {
                Some(release) => ("200 OK", shown(release, request, immutable)),
                None => missing(),
            }
        }
        ("GET", ["releases"]) => {
            let all: Vec<Value> = state.releases.iter().map(|it| shown(it, request, immutable)).collect();
            ("200 OK", if page_two { json!([]) } else { json!(all) })
        }
        ("POST", ["releases"]) => {
            let tag = document["tag_name"].as_str().unwrap_or_default().to_owned();
            if state.releases.iter().any(|release| release.tag == tag && !release.draft) {
                let errors = json!([{ "resource": "Release", "code": "already_exists", "field": "tag_name" }]);
                return ("422 Unprocessable Entity", json!({ "message": "Validation Failed", "errors": errors }));
            }
            let draft = document["draft"].as_bool().unwrap_or(false);
            let release = Release { id: state.new_id(), tag, draft, document, files: Vec::new() };
            let said = shown(&release, request, immutable);
            state.releases.push(release);
            ("201 Created", said)
        }
        ("PATCH", ["releases", id]) => {
            let Some(release) = state.releases.iter_mut().find(|it| it.id.to_string() == *id) else { return missing() };
            for (key, value) in document.as_object().into_iter().flatten() {
                release.document[key] = value.clone();
            }
            if document["draft"] == false {
                release.draft = false;
                let commit = release.document["target_commitish"].as_str().unwrap_or_default().to_owned();
                state.tags.entry(release.tag.clone()).or_insert(commit);
            }
            ("200 OK", shown(release, request, immutable))
        }
        ("DELETE", ["releases", id]) => {
            state.releases.retain(|release| release.id.to_string() != *id);
            ("204 No Content", Value::Null)
        }
        ("GET", ["releases", "assets", id]) => {
            let mut files = state.releases.iter().flat_map(|release| &release.files);
            match files.find(|file| file.id.to_string() == *id) {
                Some(file) => ("200 OK", String::from_utf8_lossy(&file.bytes).into_owned().into()),
                None => missing(),
            }
        }
        ("DELETE", ["releases", "assets", id]) => {
            for release in &mut state.releases {
                release.files.retain(|file| file.id.to_string() != *id);
            }
            ("204 No Content", Value::Null)
        }
        ("GET", ["releases", id, "assets"]) => {
            let release = state.releases.iter().find(|it| it.id.to_string() == *id);
            let Some(release) = release else { return missing() };
            let files: Vec<Value> = release.files.iter().map(|file| asset(file, state.mute)).collect();
            ("200 OK", if page_two { json!([]) } else { json!(files) })
        }
        ("POST", ["releases", id, "assets"]) => {
            let name = query.get("name").cloned().unwrap_or_default();
            let file = state.take(&name, &request.body, half);
            let mute = state.mute;
            let release = state.releases.iter_mut().find(|it| it.id.to_string() == *id);
            let Some(release) = release else { return missing() };
            if release.files.iter().any(|file| file.name == name) {
                let errors = json!([{ "resource": "ReleaseAsset", "code": "already_exists", "field": "name" }]);
                return ("422 Unprocessable Entity", json!({ "message": "Validation Failed", "errors": errors }));
            }
            let said = asset(&file, mute);
            release.files.push(file);
            ("201 Created", said)
        }
        _ => missing(),
    }
}
