//! GitHub releases (`docs.github.com rest/releases`): a draft takes the assets and is published when it has all.
//!
//! ```text
//! GET  /repos/O/R                             may we, and what time is it there
//! GET  /repos/O/R/git/ref/tags/T              on which commit is the tag
//! GET  /repos/O/R/releases/tags/T             published ones; drafts are found in the list only
//! POST /repos/O/R/releases                    the draft
//! POST UPLOAD_URL?name=N                      an asset; what breaks off leaves one in the state `starter`
//! PATCH /repos/O/R/releases/ID                publishes, which makes the tag if there is none
//! DELETE /repos/O/R/releases/ID               what has expired; the tag stays
//! ```
//!
//! Gitea and Forgejo (`docs.gitea.com/api`) speak nearly the same. Otherwise with them: tags are at `/tags/T`, assets are below
//! their release and read where browsers read them, and an asset has neither a digest nor a state: it is there whole or not.

use reqwest::{Method, Url};
use serde::Deserialize;
use serde_json::json;

use super::error::PublishError;
use super::expire::{Found, Place, time};
use super::previous::{DESCRIPTION, MOST};
use super::publication::{Publication, Published, There};
use super::steps::{Did, Steps};
use crate::dist::{Asset, SUMS};
use crate::forge::{Api, Content, Dialect, ForgeError, check_clock};
use crate::oci::Digest;
use crate::progress::Progress;

/// Pages of the list of releases in which a draft is looked for; they come newest first.
const PAGES: u32 = 3;

/// Pages of the list of releases in which expired ones are looked for.
const ALL_PAGES: u32 = 50;

/// Pages of assets; a release holds a thousand at most.
const ASSETS: u32 = 10;

#[derive(Debug, Clone, Deserialize)]
struct Release {
    id: u64,
    tag_name: String,
    draft: bool,
    #[serde(default)]
    prerelease: bool,
    #[serde(default)]
    immutable: bool,
    html_url: String,
    #[serde(default)]
    upload_url: String,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    target_commitish: String,
}

#[derive(Debug, Clone, Deserialize)]
struct Listed {
    id: u64,
    name: String,
    size: u64,
    #[serde(default)]
    state: Option<String>,
    #[serde(default)]
    digest: Option<String>,
    #[serde(default)]
    browser_download_url: Option<String>,
}

/// Where it is, and where it is read.
type File = There<(Url, Url)>;

fn file(listed: Listed, own: Url, gitea: bool) -> File {
    let seen = listed.browser_download_url.filter(|_| gitea).and_then(|url| Url::parse(&url).ok());
    let read = seen.unwrap_or_else(|| own.clone());
    File {
        partial: listed.state.is_some_and(|state| state != "uploaded"),
        digest: listed.digest.and_then(|digest| digest.parse::<Digest>().ok()),
        id: (own, read),
        name: listed.name,
        size: listed.size,
    }
}

struct Repository<'a> {
    api: &'a Api,
    owner: &'a str,
    name: &'a str,
    /// `host/owner/name`, for people.
    shown: String,
    progress: &'a dyn Progress,
}

/// Publishes at GitHub, or at Gitea where that is what the server speaks; `repository` is `OWNER/NAME`.
///
/// # Errors
/// All of `PublishError` but those of registries.
pub fn to_github(
    api: &Api,
    repository: &str,
    publication: &Publication<'_>,
    progress: &dyn Progress,
) -> Result<Published, PublishError> {
    publication.check()?;
    let repository = Repository::new(api, repository, progress)?;
    let mut steps = Steps::new(progress, &repository.shown, &publication.tag);
    steps.planned(publication.dist.assets().len() + 3);
    let result = repository.publish(publication, &mut steps);
    let acts = steps.acts();
    steps.told(result).map(|address| Published { address, acts })
}

/// Finds the public releases that have sums among their files, and the server's time where it says it.
pub(super) fn published(
    api: &Api,
    repository: &str,
    progress: &dyn Progress,
) -> Result<(Found, Option<i64>), PublishError> {
    #[derive(Deserialize)]
    struct Aged {
        id: u64,
        tag_name: String,
        draft: bool,
        #[serde(default)]
        published_at: Option<String>,
        #[serde(default)]
        assets: Vec<Named>,
    }
    #[derive(Deserialize)]
    struct Named {
        name: String,
    }
    let repository = Repository::new(api, repository, progress)?;
    let answer = api.get(&format!("repository {}", repository.shown), &repository.url(&[]), progress)?;
    let what = format!("releases of {}", repository.shown);
    let all: Vec<Aged> =
        repository.patiently("releases", || api.list(&what, &repository.url(&["releases"]), ALL_PAGES))?;
    let ours = all.into_iter().filter(|it| !it.draft && it.assets.iter().any(|asset| asset.name == SUMS));
    let found = ours.filter_map(|it| Some((it.tag_name, (time(it.published_at.as_deref()?)?, Place::GitHub(it.id)))));
    Ok((found.collect(), answer.date()))
}

/// Reads the description of a release; `None` where it has none.
pub(super) fn read(
    api: &Api,
    repository: &str,
    (id, tag): (u64, &str),
    progress: &dyn Progress,
) -> Result<Option<Vec<u8>>, PublishError> {
    let repository = Repository::new(api, repository, progress)?;
    let files = repository.patiently("assets", || repository.assets_of(id, tag))?;
    let Some(file) = files.into_iter().find(|file| file.name == DESCRIPTION) else { return Ok(None) };
    let what = format!("`{DESCRIPTION}` of {}", repository.shown);
    Ok(Some(repository.patiently(DESCRIPTION, || api.read(&what, &file.id.1, MOST))?))
}

/// Removes a release; what is not there any more was removed.
pub(super) fn remove(api: &Api, repository: &str, id: u64, progress: &dyn Progress) -> Result<(), PublishError> {
    let repository = Repository::new(api, repository, progress)?;
    let url = repository.url(&["releases", &id.to_string()]);
    Ok(repository.patiently("release", || api.delete(&format!("release {id} of {}", repository.shown), &url))?)
}

impl<'a> Repository<'a> {
    fn new(api: &'a Api, repository: &'a str, progress: &'a dyn Progress) -> Result<Self, PublishError> {
        let split = repository.split_once('/').filter(|(owner, name)| !owner.is_empty() && !name.contains('/'));
        let Some((owner, name)) = split else {
            let reason = "a repository is OWNER/NAME".to_owned();
            return Err(ForgeError::Address { text: repository.to_owned(), reason }.into());
        };
        Ok(Self { api, owner, name, shown: format!("{}/{repository}", api.host()), progress })
    }

    fn publish(&self, publication: &Publication<'_>, steps: &mut Steps<'_>) -> Result<String, PublishError> {
        let found = steps.step(&format!("check {}", self.shown), || Ok((self.check(publication)?, Did::Nothing)))?;
        let public = found.as_ref().is_some_and(|release| !release.draft);
        steps.state(if public {
            "it was public before, and lacks files"
        } else {
            "it is a draft that only those who may write see"
        });
        let release = steps.step("draft", || match found {
            Some(release) => Ok((release, Did::Nothing)),
            None => Ok((self.create(publication)?, Did::Act)),
        })?;
        for asset in publication.dist.assets() {
            steps.step(&asset.name, || Ok(((), self.upload(&release, asset, publication)?)))?;
        }
        self.tell_of_others(&release, publication, steps)?;
        steps.step("publish", || self.finish(&release, publication))
    }

    fn is_gitea(&self) -> bool {
        self.api.dialect() == Dialect::Gitea
    }

    fn file(&self, release: u64, listed: Listed) -> File {
        let (id, of) = (listed.id.to_string(), release.to_string());
        let own = if self.is_gitea() { vec!["releases", &of, "assets", &id] } else { vec!["releases", "assets", &id] };
        file(listed, self.url(&own), self.is_gitea())
    }

    fn url(&self, rest: &[&str]) -> Url {
        let mut segments = vec!["repos", self.owner, self.name];
        segments.extend(rest);
        self.api.url(&segments)
    }

    /// Looks at everything that may be in the way, and changes nothing.
    fn check(&self, publication: &Publication<'_>) -> Result<Option<Release>, PublishError> {
        let answer = self.api.get(&format!("repository {}", self.shown), &self.url(&[]), self.progress)?;
        check_clock(&self.api.host(), publication.now, answer.date())?;
        let theirs = self.patiently("tag", || self.commit_of(&publication.tag))?;
        let release = self.patiently("release", || self.find(&publication.tag))?;
        publication.check_tag(&self.shown, theirs.as_deref())?;
        let Some(release) = release else { return Ok(None) };
        let (mut different, mut missing) = (Vec::new(), Vec::new());
        let there = self.patiently("assets", || self.assets(&release))?;
        for asset in publication.dist.assets() {
            match there.iter().find(|file| file.name == asset.name) {
                Some(file) if file.partial => missing.push(asset.name.clone()),
                Some(file) if !self.patiently(&asset.name, || self.is(file, asset))? => {
                    different.push(asset.name.clone());
                }
                Some(_) => {}
                None => missing.push(asset.name.clone()),
            }
        }
        let place = self.shown.clone();
        if release.immutable && !(missing.is_empty() && different.is_empty()) {
            missing.extend(different);
            return Err(PublishError::Immutable { tag: publication.tag.clone(), place, names: missing });
        }
        if !different.is_empty() && !publication.replace {
            return Err(PublishError::Different { place, names: different });
        }
        Ok(Some(release))
    }

    fn patiently<T>(&self, what: &str, attempt: impl FnMut() -> Result<T, ForgeError>) -> Result<T, ForgeError> {
        self.api.patiently(&format!("{what} of {}", self.shown), self.progress, attempt)
    }

    /// Returns the commit that a tag is on, also by an annotated tag (`docs.github.com rest/git/tags`).
    fn commit_of(&self, tag: &str) -> Result<Option<String>, ForgeError> {
        #[derive(Deserialize)]
        struct Reference {
            object: Object,
        }
        #[derive(Deserialize)]
        struct Object {
            r#type: String,
            sha: String,
        }
        #[derive(Deserialize)]
        struct Tag {
            commit: Commit,
        }
        #[derive(Deserialize)]
        struct Commit {
            sha: String,
        }
        let what = format!("tag `{tag}` of {}", self.shown);
        if self.is_gitea() {
            return match self.api.ask(&what, &Method::GET, &self.url(&["tags", tag]), Content::Nothing) {
                Err(error) if error.is_missing() => Ok(None),
                other => Ok(Some(other?.json::<Tag>()?.commit.sha)),
            };
        }
        let mut url = self.url(&["git", "ref", "tags", tag]);
        for _ in 0..8 {
            let answer = match self.api.ask(&what, &Method::GET, &url, Content::Nothing) {
                Err(error) if error.is_missing() => return Ok(None),
                other => other?,
            };
            let Reference { object } = answer.json()?;
            if object.r#type != "tag" {
                return Ok(Some(object.sha));
            }
            url = self.url(&["git", "tags", &object.sha]);
        }
        Err(ForgeError::Answer { what, reason: "tags of tags of tags".to_owned() })
    }

    /// Finds the release of a tag, also one that is still a draft.
    fn find(&self, tag: &str) -> Result<Option<Release>, ForgeError> {
        let what = format!("release `{tag}` of {}", self.shown);
        match self.api.ask(&what, &Method::GET, &self.url(&["releases", "tags", tag]), Content::Nothing) {
            Err(error) if error.is_missing() => {}
            other => return other?.json().map(Some),
        }
        let all: Vec<Release> = self.api.list(&what, &self.url(&["releases"]), PAGES)?;
        // Of two runs that began at the same time, both go on with the older draft.
        Ok(all.into_iter().filter(|release| release.tag_name == tag).min_by_key(|release| release.id))
    }

    fn create(&self, publication: &Publication<'_>) -> Result<Release, PublishError> {
        let what = format!("release `{}` of {}", publication.tag, self.shown);
        let mut document = json!({
            "tag_name": publication.tag, "name": publication.title, "body": publication.short_notes(),
            "draft": true, "prerelease": publication.prerelease,
        });
        if let Some(commit) = &publication.commit {
            document["target_commitish"] = commit.as_str().into();
        }
        let made = self.api.patiently(&what, self.progress, || {
            if let Some(there) = self.find(&publication.tag)? {
                return Ok(there);
            }
            self.api.ask(&what, &Method::POST, &self.url(&["releases"]), Content::Json(&document))?.json()
        });
        Ok(made?)
    }

    fn assets(&self, release: &Release) -> Result<Vec<File>, ForgeError> {
        self.assets_of(release.id, &release.tag_name)
    }

    fn assets_of(&self, release: u64, tag: &str) -> Result<Vec<File>, ForgeError> {
        let what = format!("assets of `{tag}` of {}", self.shown);
        let url = self.url(&["releases", &release.to_string(), "assets"]);
        let listed: Vec<Listed> = self.api.list(&what, &url, ASSETS)?;
        Ok(listed.into_iter().map(|listed| self.file(release, listed)).collect())
    }

    fn is(&self, file: &File, asset: &Asset) -> Result<bool, ForgeError> {
        file.is(asset, |file| self.api.hash(&format!("`{}` of {}", file.name, self.shown), &file.id.1, asset.size))
    }

    /// Makes the release have this file; the outcome of an upload whose answer got lost is seen by the next look.
    fn upload(&self, release: &Release, asset: &Asset, publication: &Publication<'_>) -> Result<Did, PublishError> {
        let what = format!("`{}` of {}", asset.name, self.shown);
        let wrong = |reason: String| ForgeError::Answer { what: what.clone(), reason };
        let mut to = if self.is_gitea() {
            self.url(&["releases", &release.id.to_string(), "assets"])
        } else {
            let template = release.upload_url.split('{').next().unwrap_or_default();
            Url::parse(template).map_err(|error| wrong(format!("`upload_url`: {error}")))?
        };
        to.query_pairs_mut().append_pair("name", &asset.name);
        let path = publication.dist.path(asset);
        let mut did = Did::Nothing;
        self.api.patiently(&what, self.progress, || {
            let there = self.assets(release)?.into_iter().find(|file| file.name == asset.name);
            if let Some(there) = there {
                if self.is(&there, asset)? {
                    return Ok(());
                }
                if !there.partial && !publication.replace {
                    return Err(wrong("another file of this name has come meanwhile".to_owned()));
                }
                self.api.delete(&what, &there.id.0)?;
            }
            did = Did::Act;
            let content = Content::File(&path, asset.size, asset.kind.media_type());
            let listed: Listed = self.api.ask(&what, &Method::POST, &to, content)?.json()?;
            let arrived = self.file(release.id, listed);
            if arrived.size == asset.size && arrived.digest.is_none_or(|digest| digest == asset.digest) {
                return Ok(());
            }
            self.api.delete(&what, &arrived.id.0)?;
            Err(wrong(format!("it arrived with {} bytes and another digest, and was removed", arrived.size)))
        })?;
        Ok(did)
    }

    fn tell_of_others(
        &self,
        release: &Release,
        publication: &Publication<'_>,
        steps: &Steps<'_>,
    ) -> Result<(), PublishError> {
        let known = |file: &File| publication.dist.assets().iter().any(|asset| asset.name == file.name);
        let there = self.patiently("assets", || self.assets(release))?;
        let others: Vec<String> = there.into_iter().filter(|file| !known(file)).map(|file| file.name).collect();
        if !others.is_empty() {
            steps.note(&format!("{} has files of others, which are left alone: {}", self.shown, others.join(", ")));
        }
        Ok(())
    }

    /// Lets everybody see it, and looks whether it is what it should be.
    fn finish(&self, release: &Release, publication: &Publication<'_>) -> Result<(String, Did), PublishError> {
        let what = format!("release `{}` of {}", publication.tag, self.shown);
        let notes = publication.short_notes();
        let mut document = json!({});
        if release.draft || publication.replace {
            if release.name.as_deref() != Some(&publication.title) {
                document["name"] = publication.title.as_str().into();
            }
            if release.body.as_deref() != Some(&notes) {
                document["body"] = notes.as_str().into();
            }
            if release.prerelease != publication.prerelease {
                document["prerelease"] = publication.prerelease.into();
            }
        }
        if release.draft && !publication.draft {
            document["draft"] = false.into();
            document["make_latest"] = if publication.prerelease { "false" } else { "true" }.into();
            if let Some(commit) = publication.commit.as_deref().filter(|commit| *commit != release.target_commitish) {
                document["target_commitish"] = commit.into();
            }
        }
        if document.as_object().is_none_or(serde_json::Map::is_empty) {
            return Ok((release.html_url.clone(), Did::Nothing));
        }
        let url = self.url(&["releases", &release.id.to_string()]);
        let patch = || self.api.ask(&what, &Method::PATCH, &url, Content::Json(&document))?.json::<Release>();
        let release = self.api.patiently(&what, self.progress, patch)?;
        if !release.draft {
            let theirs = self.patiently("tag", || self.commit_of(&publication.tag))?;
            if let Some(theirs) = theirs.filter(|theirs| publication.other_commit(theirs).is_some()) {
                let reason = format!("its tag is on commit {theirs}");
                let (place, tag) = (self.shown.clone(), publication.tag.clone());
                return Err(PublishError::Unlike { place, tag, reason });
            }
        }
        Ok((release.html_url, Did::Act))
    }
}
