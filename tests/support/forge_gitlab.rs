//! The part of GitLab's REST interface that releases take (`docs.gitlab.com api/releases`, `api/releases/links`,
//! `api/packages`, `user/packages/generic_packages`, `ci/jobs/ci_job_token`).

use dockless::oci::Digest;
use serde_json::{Value, json};

use super::forge::{Release, State, TOKEN, missing, target};
use crate::fetching_server::Request;

type Answered = (&'static str, Value);

fn shown(release: &Release, state: &State) -> Value {
    let commit = state.tags.get(&release.tag).cloned().unwrap_or_default();
    json!({
        "tag_name": release.tag, "name": release.document["name"], "description": release.document["description"],
        "released_at": release.document["released_at"], "assets": release.document["assets"],
        "commit": { "id": commit }, "_links": { "self": format!("https://lab.test/g/p/-/releases/{}", release.tag) },
    })
}

#[expect(clippy::too_many_lines, reason = "an arm for each address is how the interface is documented")]
pub(crate) fn answer(state: &mut State, request: &Request, half: bool) -> Answered {
    let header = |name: &str| request.headers.get(name).map(String::as_str);
    let job = header("job-token") == Some(TOKEN);
    if !job && header("private-token") != Some(TOKEN) {
        let said = json!({ "error": "invalid_token", "error_description": "Token is expired." });
        return ("401 Unauthorized", said);
    }
    let (segments, query) = target(request);
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let ["api", "v4", "projects", "g/p", rest @ ..] = &segments[..] else { return missing() };
    let page_two = query.get("page").is_some_and(|page| page != "1");
    let listed = |items: Vec<Value>| ("200 OK", if page_two { json!([]) } else { json!(items) });
    let document: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    match (request.method.as_str(), rest) {
        // What a job token may not see is not there.
        ("GET", [] | ["repository", "tags", _]) if job => missing(),
        ("GET", []) => ("200 OK", json!({ "path_with_namespace": "g/p" })),
        ("GET", ["repository", "tags", tag]) => match state.tags.get(*tag) {
            Some(commit) => ("200 OK", json!({ "name": tag, "commit": { "id": commit } })),
            None => missing(),
        },
        ("GET", ["releases", tag]) => match state.releases.iter().find(|release| release.tag == *tag) {
            Some(release) => ("200 OK", shown(release, state)),
            None => missing(),
        },
        ("GET", ["releases"]) => listed(state.releases.iter().map(|release| shown(release, state)).collect()),
        ("DELETE", ["releases", tag]) => {
            state.releases.retain(|release| release.tag != *tag);
            ("200 OK", json!({}))
        }
        ("POST", ["releases"]) => {
            let tag = document["tag_name"].as_str().unwrap_or_default().to_owned();
            if state.releases.iter().any(|release| release.tag == tag) {
                return ("409 Conflict", json!({ "message": "Release already exists" }));
            }
            match (state.tags.contains_key(&tag), document["ref"].as_str()) {
                (true, _) => {}
                (false, Some(on)) => {
                    state.tags.insert(tag.clone(), on.to_owned());
                }
                (false, None) => return ("422 Unprocessable Entity", json!({ "message": "Ref is not specified" })),
            }
            for link in document["assets"]["links"].as_array().into_iter().flatten() {
                let id = state.new_id();
                state.links.push((id, link.clone()));
            }
            let release = Release { id: state.new_id(), tag, draft: false, document, files: Vec::new() };
            let said = shown(&release, state);
            state.releases.push(release);
            ("201 Created", said)
        }
        ("PUT", ["releases", tag]) => {
            let Some(at) = state.releases.iter().position(|release| release.tag == *tag) else { return missing() };
            for (key, value) in document.as_object().into_iter().flatten() {
                state.releases[at].document[key] = value.clone();
            }
            ("200 OK", shown(&state.releases[at].clone(), state))
        }
        ("GET", ["releases", _, "assets", "links"]) => {
            let link = |(id, link): &(u64, Value)| json!({ "id": id, "name": link["name"], "url": link["url"] });
            listed(state.links.iter().map(link).collect())
        }
        ("POST", ["releases", _, "assets", "links"]) => {
            if state.links.iter().any(|(_, link)| link["name"] == document["name"]) {
                return ("400 Bad Request", json!({ "message": { "name": ["has already been taken"] } }));
            }
            let id = state.new_id();
            state.links.push((id, document.clone()));
            ("201 Created", json!({ "id": id, "name": document["name"], "url": document["url"] }))
        }
        ("PUT", ["releases", _, "assets", "links", id]) => {
            for (_, link) in state.links.iter_mut().filter(|(known, _)| known.to_string() == *id) {
                link["url"] = document["url"].clone();
            }
            ("200 OK", json!({}))
        }
        ("GET", ["packages"]) => {
            let mut versions: Vec<&String> = state.packages.iter().map(|(version, _)| version).collect();
            versions.dedup();
            let package = |(at, version): (usize, &&String)| {
                let created = state.created.get(*version);
                json!({ "id": at + 1, "name": "standalone-python", "version": version, "created_at": created })
            };
            listed(versions.iter().enumerate().map(package).collect())
        }
        ("DELETE", ["packages", id]) => {
            let mut versions: Vec<String> = state.packages.iter().map(|(version, _)| version.clone()).collect();
            versions.dedup();
            let at = id.parse::<usize>().expect("a number") - 1;
            state.packages.retain(|(version, _)| *version != versions[at]);
            ("204 No Content", Value::Null)
        }
        ("GET", ["packages", _, "package_files"]) => {
            let file = |(_, file): &(String, super::forge::File)| {
                let sum = if state.mute { Value::Null } else { Digest::of(&file.bytes).hex().into() };
                json!({ "id": file.id, "file_name": file.name, "size": file.bytes.len(), "file_sha256": sum })
            };
            listed(state.packages.iter().map(file).collect())
        }
        ("DELETE", ["packages", _, "package_files", id]) => {
            state.packages.retain(|(_, file)| file.id.to_string() != *id);
            ("204 No Content", Value::Null)
        }
        ("PUT", ["packages", "generic", "standalone-python", version, name]) => {
            if !half {
                let file = state.take(name, &request.body, false);
                state.packages.push(((*version).to_owned(), file));
            }
            ("201 Created", json!({ "message": "201 Created" }))
        }
        ("GET", ["packages", "generic", "standalone-python", version, name]) => {
            match state.packages.iter().rev().find(|(of, file)| of == version && file.name == *name) {
                Some((_, file)) => ("200 OK", String::from_utf8_lossy(&file.bytes).into_owned().into()),
                None => missing(),
            }
        }
        _ => missing(),
    }
}
