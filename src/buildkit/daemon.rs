//! A daemon that answers: what it is, what it can do, and solves (`control.proto Control`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::sync::mpsc;

use super::dial::Dialer;
use super::error::BuildKitError;
use super::message::{
    CacheEntry, CacheOptions, Empty, Exporter, InfoResponse, ListWorkersResponse, PongResponse, SolveRequest,
    SolveResponse, StatusRequest, StatusResponse,
};
use super::session::{Offer, Session, layout};
use crate::grpc::{Channel, Code, Status};
use crate::llb::pb;
use crate::oci::Digest;

const SOLVE: &str = "/moby.buildkit.v1.Control/Solve";
const STATUS: &str = "/moby.buildkit.v1.Control/Status";
const WORKERS: &str = "/moby.buildkit.v1.Control/ListWorkers";
const INFO: &str = "/moby.buildkit.v1.Control/Info";
const PING: &str = "/moby.buildkit.v1.frontend.LLBBridge/Ping";

/// How long a daemon may take to say what it is.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long events of a solve that has ended may still take to come.
const ECHO: Duration = Duration::from_secs(3);

/// What a daemon is.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// Its version, for people.
    pub version: String,
    /// What it builds for.
    pub platforms: Vec<pb::Platform>,
    /// What its LLB may ask for (`caps.go`); `None` where it does not say.
    pub capabilities: Option<BTreeSet<String>>,
    /// It can send layers: not before 0.11, and not in a Docker daemon that keeps no images of containerd's kind.
    pub layers: bool,
}

/// How a result comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Export {
    /// As an image's layers, of which only those travel that are not here (`oci` with `tar=false`), so compressed.
    Layers(&'static str),
    /// As one archive of everything (`tar`), which every daemon can make; it goes to `Offer::archive`.
    Archive,
}

impl Export {
    /// Returns the exporter's name and attributes (`exporter.go`, `attrs`).
    fn named(self) -> (&'static str, BTreeMap<String, String>) {
        let Self::Layers(compression) = self else { return ("tar", BTreeMap::new()) };
        let attrs = [("tar", "false"), ("oci-mediatypes", "true"), ("compression", compression)];
        ("oci", attrs.map(|(key, value)| (key.to_owned(), value.to_owned())).into())
    }
}

/// A daemon that answers.
#[derive(Debug)]
pub struct Daemon {
    address: String,
    near: bool,
    channel: Channel,
}

/// Which way a cache is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheKind {
    /// Asked.
    From,
    /// Left.
    To,
}

/// A cache as the daemon's own clients name it: `registry`, `local`, `inline`, `s3`, `gha`, `azblob`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    /// Asked or left.
    pub kind: CacheKind,
    /// Its type.
    pub r#type: String,
    /// What else is said of it.
    pub attrs: BTreeMap<String, String>,
}

/// What a daemon is to solve.
#[derive(Debug)]
pub struct Job {
    /// The graph.
    pub definition: pb::Definition,
    /// Entitlements that are granted from here.
    pub entitlements: Vec<String>,
    /// Caches beside the daemon's own.
    pub caches: Vec<Cache>,
    /// How the result comes back.
    pub export: Export,
    /// Tells directories of this project from those of others, for the next time that they are sent.
    pub shared_key: String,
    /// What it may have of us.
    pub offer: Offer,
}

/// What a daemon says while it solves.
#[derive(Debug)]
pub enum Solving {
    /// Something happened.
    Status(Box<StatusResponse>),
    /// It is over: what the exporter says.
    Done(Result<BTreeMap<String, String>, Status>),
}

impl Daemon {
    /// Connects.
    ///
    /// # Errors
    /// As `Dialer::dial`.
    pub async fn open(dialer: &Dialer) -> Result<Self, BuildKitError> {
        let channel = dialer.dial().await?;
        Ok(Self { address: dialer.address.to_string(), near: dialer.address.is_near(), channel })
    }

    /// Returns its address.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Tells whether bytes reach it without a network.
    pub const fn is_near(&self) -> bool {
        self.near
    }

    /// Turns the end of a call into an error about this daemon.
    pub fn error(&self, status: &Status) -> BuildKitError {
        BuildKitError::of(&self.address, status)
    }

    /// Asks what it is. The first thing to ask: where TLS was refused it shows here.
    ///
    /// # Errors
    /// `Tls`, `Broken`, `Solve`, `Denied`.
    pub async fn facts(&self) -> Result<Facts, BuildKitError> {
        let asked = tokio::time::timeout(PATIENCE, async {
            let workers: ListWorkersResponse = self.channel.call(WORKERS, &[], &Empty {}).await?;
            let info: Result<InfoResponse, Status> = self.channel.call(INFO, &[], &Empty {}).await;
            match info {
                Ok(info) => Ok((workers, info.version, true)),
                // Older than 0.11.
                Err(status) if status.code == Code::Unimplemented => Ok((workers, None, false)),
                Err(status) => Err(status),
            }
        });
        let silent = || Err(Status { broken: true, ..Status::new(Code::Unavailable, "it accepts, and says nothing") });
        let (workers, version, layers) =
            asked.await.unwrap_or_else(|_| silent()).map_err(|status| self.refused(&status))?;
        let own = workers.record.iter().find_map(|record| record.version.clone());
        let version = version.or(own).map(|version| version.version).filter(|version| !version.is_empty());
        let platforms = workers.record.into_iter().flat_map(|record| record.platforms).collect();
        let version = version.unwrap_or_else(|| "of unknown version".to_owned());
        Ok(Facts { version, platforms, capabilities: None, layers })
    }

    /// A daemon that does not believe our certificate accepts the connection and then ends it (RFC 8446 section 4.4.2.4).
    fn refused(&self, status: &Status) -> BuildKitError {
        let words = status.message.to_ascii_lowercase();
        if status.broken && (words.contains("alert") || words.contains("certificate")) {
            return BuildKitError::Tls { address: self.address.clone(), reason: status.message.clone() };
        }
        self.error(status)
    }

    /// Asks which capabilities its LLB has. Only a build may ask, so an empty one is begun and given up.
    ///
    /// # Errors
    /// `Broken`, `Solve`, `Denied`.
    pub async fn capabilities(&self, offer: Offer) -> Result<Option<BTreeSet<String>>, BuildKitError> {
        let (id, session) = (identity(), identity());
        let failed = |status: Status| self.error(&status);
        let _session = Session::open(&self.channel, &session, &session, offer).await.map_err(failed)?;
        let request = SolveRequest { r#ref: id.clone(), session, ..SolveRequest::default() };
        let build = self.channel.call::<SolveResponse>(SOLVE, &[], &request);
        let ask = async {
            let metadata = [("buildkit-controlapi-buildid", id.as_str())];
            self.channel.call::<PongResponse>(PING, &metadata, &Empty {}).await
        };
        let pong = tokio::time::timeout(PATIENCE, async {
            tokio::select! {
                pong = ask => pong,
                ended = build => Err(ended.err().unwrap_or_else(|| Status::new(Code::Unknown, "the build has ended"))),
            }
        });
        match pong.await {
            Ok(Ok(pong)) => Ok(Some(pong.llb_caps.into_iter().filter(|cap| cap.enabled).map(|cap| cap.id).collect())),
            Ok(Err(status)) if status.broken => Err(self.error(&status)),
            // One that does not say is tried.
            Ok(Err(status)) => {
                tracing::debug!(message = status.message, "the daemon does not say what it can do");
                Ok(None)
            }
            Err(_) => Ok(None),
        }
    }

    /// Solves; everything that it says goes to `told`, the end last. Given up when it is dropped.
    pub async fn solve(&self, job: Job, told: mpsc::UnboundedSender<Solving>) {
        let result = self.solve_told(job, &told).await;
        // Whoever asked may have lost interest.
        let _ = told.send(Solving::Done(result));
    }

    async fn solve_told(
        &self,
        job: Job,
        told: &mpsc::UnboundedSender<Solving>,
    ) -> Result<BTreeMap<String, String>, Status> {
        let Job { definition, entitlements, caches, export, shared_key, offer } = job;
        let (id, session_id) = (identity(), identity());
        let session = Session::open(&self.channel, &session_id, &shared_key, offer).await?;
        let (cache, leave) = options(caches);
        let (exporter, attrs) = export.named();
        let request = SolveRequest {
            r#ref: id.clone(),
            definition: Some(definition),
            session: session_id,
            exporters: vec![Exporter { r#type: exporter.to_owned(), attrs: attrs.clone() }],
            // What daemons before 0.14 look at.
            exporter_deprecated: exporter.to_owned(),
            exporter_attrs_deprecated: attrs,
            cache: Some(cache),
            entitlements,
        };
        let solve = self.channel.call::<SolveResponse>(SOLVE, &[], &request);
        let status = async {
            let mut receiving = self.channel.ask(STATUS, &[], &StatusRequest { r#ref: id.clone() }).await?;
            while let Some(status) = receiving.next::<StatusResponse>().await? {
                if told.send(Solving::Status(Box::new(status))).is_err() {
                    break;
                }
            }
            Ok::<(), Status>(())
        };
        tokio::pin!(solve, status);
        let mut listening = true;
        let result = loop {
            tokio::select! {
                result = &mut solve => break result,
                // A view that is lost is no reason to give up what it shows.
                _ = &mut status, if listening => listening = false,
            }
        };
        if listening {
            let _ = tokio::time::timeout(ECHO, status).await;
        }
        drop(session);
        let response = result?.exporter_response;
        if let Some(descriptor) = response.get("cache.manifest") {
            for (root, tag) in leave {
                let written = layout::tag(&root, descriptor, &tag);
                written.map_err(|error| {
                    let message = format!("the index of the cache `{}` was not written: {error}", root.display());
                    Status::new(Code::Internal, message)
                })?;
            }
        }
        Ok(response)
    }
}

/// The name of the manifest in a local cache, unless the user gives another.
const LATEST: &str = "latest";

/// Returns caches as a daemon takes them, and which local ones get a tag afterwards. A local one that holds nothing yet
/// is not asked.
fn options(caches: Vec<Cache>) -> (CacheOptions, Vec<(PathBuf, String)>) {
    let (mut options, mut leave) = (CacheOptions::default(), Vec::new());
    for Cache { kind, r#type, mut attrs } in caches {
        let tag = attrs.get("tag").cloned().unwrap_or_else(|| LATEST.to_owned());
        match (kind, r#type.as_str()) {
            (CacheKind::From, "local") if !attrs.contains_key("digest") => {
                let found = attrs.get("src").and_then(|root| layout::tagged(root.as_ref(), &tag));
                let Some(digest) = found else { continue };
                attrs.insert("digest".to_owned(), digest.to_string());
            }
            (CacheKind::To, "local") => leave.extend(attrs.get("dest").map(|root| (PathBuf::from(root), tag))),
            _ => {}
        }
        let entry = CacheEntry { r#type, attrs };
        match kind {
            CacheKind::From => options.imports.push(entry),
            CacheKind::To => options.exports.push(entry),
        }
    }
    (options, leave)
}

/// A name that no other build has.
fn identity() -> String {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).expect("the kernel has randomness (getrandom(2))");
    // Its digest is as good, and written already.
    Digest::of(&bytes).hex()[..32].to_owned()
}
