//! GitLab: files in the generic package registry (`docs.gitlab.com user/packages/generic_packages`), then a release with
//! links to them (`docs.gitlab.com api/releases`).
//!
//! ```text
//! GET  /projects/P                                   may we; a job token may not ask
//! GET  /projects/P/repository/tags/T                 on which commit is the tag; the same
//! GET  /projects/P/releases/T
//! GET  /projects/P/packages?package_name=N, …/packages/ID/package_files
//! PUT  /projects/P/packages/generic/N/T/FILE
//! POST /projects/P/releases                          with all links at once, and the tag if there is none
//! POST, PUT /projects/P/releases/T/assets/links      completes one that is there
//! DELETE /projects/P/packages/ID, /projects/P/releases/T   what has expired; the tag stays
//! ```
//!
//! The package's version is the tag. Where a job token may not ask for a tag, the answer about the release says which
//! commit it is on.

use std::collections::BTreeMap;

use reqwest::{Method, Url};
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::PublishError;
use super::expire::{Found, Place, time};
use super::previous::{DESCRIPTION, MOST};
use super::publication::{Publication, Published, There};
use super::steps::{Did, Steps};
use crate::dist::{Asset, Kind, SUMS};
use crate::forge::{Answer, Api, Content, ForgeError, Header, check_clock};
use crate::oci::Digest;
use crate::progress::Progress;

/// Pages of files, packages and links.
const PAGES: u32 = 10;

/// Pages of the lists in which expired releases are looked for.
const ALL_PAGES: u32 = 50;

/// Where files go.
#[derive(Debug, Clone, Copy)]
pub struct Package<'a> {
    /// The project: its number, or `GROUP/NAME`.
    pub project: &'a str,
    /// The name of the package: `standalone-python`.
    pub name: &'a str,
}

#[derive(Debug, Clone, Deserialize)]
struct Release {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    commit: Option<Commit>,
    #[serde(default, rename = "_links")]
    links: BTreeMap<String, Value>,
}

#[derive(Debug, Clone, Deserialize)]
struct Commit {
    id: String,
}

#[derive(Debug, Clone, Deserialize)]
struct Link {
    id: u64,
    name: String,
    url: String,
}

#[derive(Debug, Deserialize)]
struct Listed {
    id: u64,
    #[serde(default)]
    name: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    created_at: Option<String>,
}

#[derive(Debug, Deserialize)]
struct ListedFile {
    id: u64,
    file_name: String,
    size: u64,
    #[serde(default)]
    file_sha256: Option<String>,
}

/// Package and file.
type File = There<(u64, u64)>;

struct Project<'a> {
    api: &'a Api,
    package: Package<'a>,
    version: &'a str,
    /// `host/group/name`, for people.
    shown: String,
    progress: &'a dyn Progress,
}

/// Publishes at GitLab.
///
/// # Errors
/// All of `PublishError` but those of registries.
pub fn to_gitlab(
    api: &Api,
    package: Package<'_>,
    publication: &Publication<'_>,
    progress: &dyn Progress,
) -> Result<Published, PublishError> {
    publication.check()?;
    let shown = format!("{}/{}", api.host(), package.project);
    let project = Project { api, package, version: &publication.tag, shown, progress };
    let mut steps = Steps::new(progress, &project.shown, &publication.tag);
    steps.planned(publication.dist.assets().len() + if publication.draft { 1 } else { 2 });
    let result = project.publish(publication, &mut steps);
    let acts = steps.acts();
    steps.told(result).map(|address| Published { address, acts })
}

/// Finds the releases that link to sums, the packages of tags, and the server's time where it says it.
pub(super) fn published(
    api: &Api,
    package: Package<'_>,
    progress: &dyn Progress,
) -> Result<(Found, Option<i64>), PublishError> {
    #[derive(Deserialize)]
    struct Aged {
        tag_name: String,
        #[serde(default)]
        released_at: Option<String>,
        #[serde(default)]
        assets: Assets,
    }
    #[derive(Default, Deserialize)]
    struct Assets {
        #[serde(default)]
        links: Vec<Named>,
    }
    #[derive(Deserialize)]
    struct Named {
        name: String,
    }
    let shown = format!("{}/{}", api.host(), package.project);
    let project = Project { api, package, version: "", shown, progress };
    let what = format!("releases of {}", project.shown);
    let answer = api.get(&what, &project.url(&["releases"]), progress)?;
    let all: Vec<Aged> = project.patiently("releases", || api.list(&what, &project.url(&["releases"]), ALL_PAGES))?;
    let ours = all.into_iter().filter(|it| it.assets.links.iter().any(|link| link.name == SUMS));
    let aged = ours.filter_map(|it| Some((it.tag_name, time(it.released_at.as_deref()?)?)));
    let mut found: Found = aged.map(|(tag, at)| (tag, (at, Place::GitLab(true, Vec::new())))).collect();
    // One whose release is gone, or never came, counts by itself.
    for listed in project.patiently("packages", || project.packages(ALL_PAGES))? {
        let Some(at) = listed.created_at.as_deref().and_then(time) else { continue };
        let (_, place) = found.entry(listed.version).or_insert((at, Place::GitLab(false, Vec::new())));
        if let Place::GitLab(_, packages) = place {
            packages.push(listed.id);
        }
    }
    Ok((found, answer.date()))
}

/// Reads the description of a release; `None` where it has none.
pub(super) fn read(
    api: &Api,
    package: Package<'_>,
    tag: &str,
    progress: &dyn Progress,
) -> Result<Option<Vec<u8>>, PublishError> {
    let shown = format!("{}/{}", api.host(), package.project);
    let project = Project { api, package, version: tag, shown, progress };
    let url = project.url(&["packages", "generic", package.name, tag, DESCRIPTION]);
    let what = format!("`{DESCRIPTION}` of {}", project.shown);
    match project.patiently(DESCRIPTION, || api.read(&what, &url, MOST)) {
        Err(error) if error.is_missing() => Ok(None),
        read => Ok(Some(read?)),
    }
}

/// Removes packages, then the release of a tag, so that what breaks off in between is found again.
pub(super) fn remove(
    api: &Api,
    package: Package<'_>,
    release: Option<&str>,
    packages: &[u64],
    progress: &dyn Progress,
) -> Result<(), PublishError> {
    let shown = format!("{}/{}", api.host(), package.project);
    let project = Project { api, package, version: release.unwrap_or_default(), shown, progress };
    for id in packages {
        let url = project.url(&["packages", &id.to_string()]);
        project.patiently("package", || api.delete(&format!("package {id} of {}", project.shown), &url))?;
    }
    let Some(tag) = release else { return Ok(()) };
    let url = project.url(&["releases", tag]);
    Ok(project.patiently("release", || api.delete(&format!("release `{tag}` of {}", project.shown), &url))?)
}

impl Project<'_> {
    fn publish(&self, publication: &Publication<'_>, steps: &mut Steps<'_>) -> Result<String, PublishError> {
        let release = steps.step(&format!("check {}", self.shown), || Ok((self.check(publication)?, Did::Nothing)))?;
        steps.state(if release.is_some() {
            "the release was there before, and lacks files"
        } else {
            "files are in the package registry, and there is no release yet"
        });
        for asset in publication.dist.assets() {
            steps.step(&asset.name, || Ok(((), self.upload(asset, publication)?)))?;
        }
        if publication.draft {
            return Ok(self.url(&["packages", "generic", self.package.name, self.version]).to_string());
        }
        steps.step("publish", || self.release(publication))
    }

    fn url(&self, rest: &[&str]) -> Url {
        let mut segments = vec!["projects", self.package.project];
        segments.extend(rest);
        self.api.url(&segments)
    }

    fn address(&self, asset: &Asset) -> Url {
        self.url(&["packages", "generic", self.package.name, self.version, &asset.name])
    }

    fn is_job(&self) -> bool {
        self.api.token().is_some_and(|token| token.header() == Header::Job)
    }

    fn patiently<T>(&self, what: &str, attempt: impl FnMut() -> Result<T, ForgeError>) -> Result<T, ForgeError> {
        self.api.patiently(&format!("{what} of {}", self.shown), self.progress, attempt)
    }

    /// Looks at everything that may be in the way, and changes nothing.
    fn check(&self, publication: &Publication<'_>) -> Result<Option<Release>, PublishError> {
        let what = format!("project {}", self.shown);
        let mut url = self.url(&["packages"]);
        url.query_pairs_mut().append_pair("per_page", "1");
        let front = if self.is_job() { url } else { self.url(&[]) };
        let answer = self.api.get(&what, &front, self.progress)?;
        check_clock(&self.api.host(), publication.now, answer.date())?;
        let release = self.patiently("release", || self.find())?;
        let of_release = release.as_ref().and_then(|release| release.commit.as_ref()).map(|commit| commit.id.clone());
        match of_release {
            Some(theirs) => publication.check_tag(&self.shown, Some(&theirs))?,
            None => match self.patiently("tag", || self.commit_of(&publication.tag))? {
                Seen::There(theirs) => publication.check_tag(&self.shown, Some(&theirs))?,
                Seen::Absent => publication.check_tag(&self.shown, None)?,
                Seen::Hidden => {}
            },
        }
        let there = self.patiently("files", || self.files())?;
        let mut different = Vec::new();
        for asset in publication.dist.assets() {
            if let Some(file) = there.get(&asset.name)
                && !self.patiently(&asset.name, || self.is(file, asset))?
            {
                different.push(asset.name.clone());
            }
        }
        if release.is_some() {
            let links = self.patiently("links", || self.links())?;
            let elsewhere = |asset: &&Asset| {
                links.iter().any(|link| link.name == asset.name && link.url != self.address(asset).as_str())
            };
            let elsewhere = publication.dist.assets().iter().filter(elsewhere).map(|asset| asset.name.clone());
            different.extend(elsewhere.collect::<Vec<_>>());
        }
        if !different.is_empty() && !publication.replace {
            different.dedup();
            return Err(PublishError::Different { place: self.shown.clone(), names: different });
        }
        Ok(release)
    }

    fn find(&self) -> Result<Option<Release>, ForgeError> {
        let what = format!("release `{}` of {}", self.version, self.shown);
        match self.api.ask(&what, &Method::GET, &self.url(&["releases", self.version]), Content::Nothing) {
            // Some versions answer 403 where there is no such release; whether we may make one is seen when we do.
            Err(error) if matches!(error.status(), Some(403 | 404)) => Ok(None),
            other => other?.json().map(Some),
        }
    }

    fn commit_of(&self, tag: &str) -> Result<Seen, ForgeError> {
        #[derive(Deserialize)]
        struct Tag {
            commit: Commit,
        }
        let what = format!("tag `{tag}` of {}", self.shown);
        let url = self.url(&["repository", "tags", tag]);
        match self.api.ask(&what, &Method::GET, &url, Content::Nothing) {
            Err(error) if self.is_job() && matches!(error.status(), Some(401 | 403 | 404)) => Ok(Seen::Hidden),
            Err(error) if error.is_missing() => Ok(Seen::Absent),
            other => Ok(Seen::There(other?.json::<Tag>()?.commit.id)),
        }
    }

    /// Lists the files of this version; of several with one name the newest is the one that people get.
    fn files(&self) -> Result<BTreeMap<String, File>, ForgeError> {
        let what = format!("package `{}` of {}", self.package.name, self.shown);
        let mut files: BTreeMap<String, File> = BTreeMap::new();
        for package in self.packages(PAGES)? {
            let url = self.url(&["packages", &package.id.to_string(), "package_files"]);
            for listed in self.api.list::<ListedFile>(&what, &url, PAGES)? {
                let file = File {
                    id: (package.id, listed.id),
                    name: listed.file_name,
                    size: listed.size,
                    partial: false,
                    digest: listed.file_sha256.and_then(|hex| Digest::from_hex(&hex).ok()),
                };
                let newest = files.get(&file.name).is_none_or(|other| other.id < file.id);
                if newest {
                    files.insert(file.name.clone(), file);
                }
            }
        }
        Ok(files)
    }

    /// Lists the packages of our name: of this version, or of all where that is empty.
    fn packages(&self, pages: u32) -> Result<Vec<Listed>, ForgeError> {
        let what = format!("package `{}` of {}", self.package.name, self.shown);
        let mut url = self.url(&["packages"]);
        url.query_pairs_mut().append_pair("package_type", "generic").append_pair("package_name", self.package.name);
        if !self.version.is_empty() {
            url.query_pairs_mut().append_pair("package_version", self.version);
        }
        let mut packages: Vec<Listed> = self.api.list(&what, &url, pages)?;
        // Older servers know no `package_version`, and the name is matched loosely.
        let is_ours = |version: &str| self.version.is_empty() || version == self.version;
        packages.retain(|it| it.name == self.package.name && is_ours(&it.version));
        Ok(packages)
    }

    fn is(&self, file: &File, asset: &Asset) -> Result<bool, ForgeError> {
        let what = format!("`{}` of {}", file.name, self.shown);
        file.is(asset, |_| self.api.hash(&what, &self.address(asset), asset.size))
    }

    /// Makes the package have this file; the outcome of an upload whose answer got lost is seen by the next look.
    fn upload(&self, asset: &Asset, publication: &Publication<'_>) -> Result<Did, PublishError> {
        let what = format!("`{}` of {}", asset.name, self.shown);
        let path = publication.dist.path(asset);
        let mut did = Did::Nothing;
        self.api.patiently(&what, self.progress, || {
            if let Some(there) = self.files()?.remove(&asset.name) {
                if self.is(&there, asset)? {
                    return Ok(());
                }
                // What we sent ourselves and came otherwise may go; what others sent, when asked to.
                if did == Did::Nothing && !publication.replace {
                    let reason = "another file of this name has come meanwhile".to_owned();
                    return Err(ForgeError::Answer { what: what.clone(), reason });
                }
                let (package, file) = (there.id.0.to_string(), there.id.1.to_string());
                let url = self.url(&["packages", &package, "package_files", &file]);
                self.api.delete(&what, &url)?;
            }
            did = Did::Act;
            let content = Content::File(&path, asset.size, asset.kind.media_type());
            self.api.ask(&what, &Method::PUT, &self.address(asset), content)?;
            match self.files()?.get(&asset.name) {
                Some(there) if self.is(there, asset)? => Ok(()),
                _ => {
                    let reason = "the server took it, and does not have it as it was sent".to_owned();
                    Err(ForgeError::Answer { what: what.clone(), reason })
                }
            }
        })?;
        Ok(did)
    }

    /// Makes the release with all of its links, or completes it.
    fn release(&self, publication: &Publication<'_>) -> Result<(String, Did), PublishError> {
        let what = format!("release `{}` of {}", self.version, self.shown);
        let notes = publication.short_notes();
        let (release, made) = self.api.patiently(&what, self.progress, || match self.find()? {
            Some(release) => Ok((release, false)),
            None => Ok((self.create(&what, publication, &notes)?.json()?, true)),
        })?;
        let mut did = if made { Did::Act } else { self.complete(&what, publication)? };
        let stale = release.name.as_deref() != Some(&publication.title)
            || release.description.as_deref().map(str::trim) != Some(notes.trim());
        if !made && stale && publication.replace {
            let document = json!({ "name": publication.title, "description": notes });
            let url = self.url(&["releases", self.version]);
            self.patiently("release", || self.api.ask(&what, &Method::PUT, &url, Content::Json(&document)))?;
            did = Did::Act;
        }
        let theirs = release.commit.as_ref().map(|commit| commit.id.as_str());
        if let Some(theirs) = theirs.filter(|theirs| publication.other_commit(theirs).is_some()) {
            let reason = format!("its tag is on commit {theirs}");
            return Err(PublishError::Unlike { place: self.shown.clone(), tag: publication.tag.clone(), reason });
        }
        let own = release.links.get("self").and_then(Value::as_str).map(str::to_owned);
        Ok((own.unwrap_or_else(|| self.url(&["releases", self.version]).to_string()), did))
    }

    fn create(&self, what: &str, publication: &Publication<'_>, notes: &str) -> Result<Answer, ForgeError> {
        let links: Vec<Value> = publication.dist.assets().iter().map(|asset| self.link(asset)).collect();
        let mut document = json!({
            "tag_name": publication.tag, "name": publication.title, "description": notes, "assets": { "links": links },
        });
        // Without effect where the tag is there.
        if let Some(commit) = &publication.commit {
            document["ref"] = commit.as_str().into();
        }
        self.api.ask(what, &Method::POST, &self.url(&["releases"]), Content::Json(&document))
    }

    fn link(&self, asset: &Asset) -> Value {
        let kind = if asset.kind == Kind::Tarball { "package" } else { "other" };
        json!({
            "name": asset.name, "url": self.address(asset).as_str(), "link_type": kind,
            "direct_asset_path": format!("/{}", asset.name),
        })
    }

    fn links(&self) -> Result<Vec<Link>, ForgeError> {
        let what = format!("links of `{}` of {}", self.version, self.shown);
        self.api.list(&what, &self.url(&["releases", self.version, "assets", "links"]), PAGES)
    }

    /// Adds the links that a release lacks, and mends those that lead elsewhere.
    fn complete(&self, what: &str, publication: &Publication<'_>) -> Result<Did, PublishError> {
        let mut did = Did::Nothing;
        let place = ["releases", self.version, "assets", "links"];
        for asset in publication.dist.assets() {
            let link = self.link(asset);
            self.api.patiently(what, self.progress, || {
                let (method, url) = match self.links()?.into_iter().find(|link| link.name == asset.name) {
                    Some(there) if there.url == self.address(asset).as_str() => return Ok(()),
                    Some(there) => (Method::PUT, self.url(&[&place[..], &[there.id.to_string().as_str()]].concat())),
                    None => (Method::POST, self.url(&place)),
                };
                did = Did::Act;
                self.api.ask(what, &method, &url, Content::Json(&link)).map(|_| ())
            })?;
        }
        Ok(did)
    }
}

/// What can be known of a tag.
enum Seen {
    There(String),
    Absent,
    /// Our token may not ask.
    Hidden,
}
