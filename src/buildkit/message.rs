//! The messages that we speak, as far as we do (`control.proto`, `worker.proto`, `filesync.proto`, `wire.proto`,
//! `stat.proto`, `auth.proto`, `secrets.proto`, `ssh.proto`, containerd's `content.proto`, `gateway.proto`).
//!
//! Written by hand: these are a tenth of what those files hold, fields that we do not know are passed over by the
//! decoder, and maps are ordered. That they are right shows in the tests with a real daemon.

use std::collections::BTreeMap;

use crate::llb::pb;

macro_rules! messages {
    ($($(#[$doc:meta])* $name:ident { $($field:tt)* })*) => {
        $($(#[$doc])* #[derive(Clone, PartialEq, prost::Message)]
        #[allow(missing_docs, reason = "the words of the protocol")]
        pub struct $name { $($field)* })*
    };
}

messages! {
    /// `control.proto SolveRequest`
    SolveRequest {
        #[prost(string, tag = "1")]
        pub r#ref: String,
        #[prost(message, optional, tag = "2")]
        pub definition: Option<pb::Definition>,
        #[prost(string, tag = "3")]
        pub exporter_deprecated: String,
        #[prost(btree_map = "string, string", tag = "4")]
        pub exporter_attrs_deprecated: BTreeMap<String, String>,
        #[prost(string, tag = "5")]
        pub session: String,
        #[prost(message, optional, tag = "8")]
        pub cache: Option<CacheOptions>,
        #[prost(string, repeated, tag = "9")]
        pub entitlements: Vec<String>,
        #[prost(message, repeated, tag = "13")]
        pub exporters: Vec<Exporter>,
    }
    /// `control.proto CacheOptions`
    CacheOptions {
        #[prost(message, repeated, tag = "4")]
        pub exports: Vec<CacheEntry>,
        #[prost(message, repeated, tag = "5")]
        pub imports: Vec<CacheEntry>,
    }
    /// `control.proto CacheOptionsEntry`
    CacheEntry {
        #[prost(string, tag = "1")]
        pub r#type: String,
        #[prost(btree_map = "string, string", tag = "2")]
        pub attrs: BTreeMap<String, String>,
    }
    /// `control.proto Exporter`
    Exporter {
        #[prost(string, tag = "1")]
        pub r#type: String,
        #[prost(btree_map = "string, string", tag = "2")]
        pub attrs: BTreeMap<String, String>,
    }
    /// `control.proto SolveResponse`
    SolveResponse {
        #[prost(btree_map = "string, string", tag = "1")]
        pub exporter_response: BTreeMap<String, String>,
    }
    /// `control.proto StatusRequest`
    StatusRequest {
        #[prost(string, tag = "1")]
        pub r#ref: String,
    }
    /// `control.proto StatusResponse`
    StatusResponse {
        #[prost(message, repeated, tag = "1")]
        pub vertexes: Vec<Vertex>,
        #[prost(message, repeated, tag = "2")]
        pub statuses: Vec<VertexStatus>,
        #[prost(message, repeated, tag = "3")]
        pub logs: Vec<VertexLog>,
        #[prost(message, repeated, tag = "4")]
        pub warnings: Vec<VertexWarning>,
    }
    /// `google.protobuf.Timestamp`
    Timestamp {
        #[prost(int64, tag = "1")]
        pub seconds: i64,
        #[prost(int32, tag = "2")]
        pub nanos: i32,
    }
    /// `control.proto Vertex`
    Vertex {
        #[prost(string, tag = "1")]
        pub digest: String,
        #[prost(string, repeated, tag = "2")]
        pub inputs: Vec<String>,
        #[prost(string, tag = "3")]
        pub name: String,
        #[prost(bool, tag = "4")]
        pub cached: bool,
        #[prost(message, optional, tag = "5")]
        pub started: Option<Timestamp>,
        #[prost(message, optional, tag = "6")]
        pub completed: Option<Timestamp>,
        #[prost(string, tag = "7")]
        pub error: String,
    }
    /// `control.proto VertexStatus`
    VertexStatus {
        #[prost(string, tag = "1")]
        pub id: String,
        #[prost(string, tag = "2")]
        pub vertex: String,
        #[prost(string, tag = "3")]
        pub name: String,
        #[prost(int64, tag = "4")]
        pub current: i64,
        #[prost(int64, tag = "5")]
        pub total: i64,
    }
    /// `control.proto VertexLog`
    VertexLog {
        #[prost(string, tag = "1")]
        pub vertex: String,
        #[prost(int64, tag = "3")]
        pub stream: i64,
        #[prost(bytes = "vec", tag = "4")]
        pub msg: Vec<u8>,
    }
    /// `control.proto VertexWarning`
    VertexWarning {
        #[prost(string, tag = "1")]
        pub vertex: String,
        #[prost(bytes = "vec", tag = "3")]
        pub short: Vec<u8>,
    }
    /// A piece of a stream of bytes: `BytesMessage` of control, filesync, sshforward and upload.
    Piece {
        #[prost(bytes = "bytes", tag = "1")]
        pub data: bytes::Bytes,
    }
    /// A message without fields: `InfoRequest`, `PingRequest`, `CheckAgentResponse`, `google.protobuf.Empty`.
    Empty {}
    /// `control.proto ListWorkersResponse`
    ListWorkersResponse {
        #[prost(message, repeated, tag = "1")]
        pub record: Vec<WorkerRecord>,
    }
    /// `worker.proto WorkerRecord`
    WorkerRecord {
        #[prost(string, tag = "1")]
        pub id: String,
        #[prost(btree_map = "string, string", tag = "2")]
        pub labels: BTreeMap<String, String>,
        #[prost(message, repeated, tag = "3")]
        pub platforms: Vec<pb::Platform>,
        #[prost(message, optional, tag = "5")]
        pub version: Option<BuildkitVersion>,
    }
    /// `worker.proto BuildkitVersion`
    BuildkitVersion {
        #[prost(string, tag = "1")]
        pub package: String,
        #[prost(string, tag = "2")]
        pub version: String,
        #[prost(string, tag = "3")]
        pub revision: String,
    }
    /// `control.proto InfoResponse`
    InfoResponse {
        #[prost(message, optional, tag = "1")]
        pub version: Option<BuildkitVersion>,
    }
    /// `gateway.proto PongResponse`
    PongResponse {
        #[prost(message, repeated, tag = "2")]
        pub llb_caps: Vec<ApiCap>,
    }
    /// `caps.proto APICap`
    ApiCap {
        #[prost(string, tag = "1")]
        pub id: String,
        #[prost(bool, tag = "2")]
        pub enabled: bool,
    }
    /// `stat.proto Stat`
    Stat {
        #[prost(string, tag = "1")]
        pub path: String,
        #[prost(uint32, tag = "2")]
        pub mode: u32,
        #[prost(uint32, tag = "3")]
        pub uid: u32,
        #[prost(uint32, tag = "4")]
        pub gid: u32,
        #[prost(int64, tag = "5")]
        pub size: i64,
        #[prost(int64, tag = "6")]
        pub mod_time: i64,
        #[prost(string, tag = "7")]
        pub linkname: String,
        #[prost(int64, tag = "8")]
        pub devmajor: i64,
        #[prost(int64, tag = "9")]
        pub devminor: i64,
        #[prost(btree_map = "string, bytes", tag = "10")]
        pub xattrs: BTreeMap<String, Vec<u8>>,
    }
    /// `wire.proto Packet`
    Packet {
        #[prost(enumeration = "PacketType", tag = "1")]
        pub r#type: i32,
        #[prost(message, optional, tag = "2")]
        pub stat: Option<Stat>,
        #[prost(uint32, tag = "3")]
        pub id: u32,
        #[prost(bytes = "bytes", tag = "4")]
        pub data: bytes::Bytes,
    }
    /// `secrets.proto GetSecretRequest`
    GetSecretRequest {
        #[prost(string, tag = "1")]
        pub id: String,
    }
    /// `secrets.proto GetSecretResponse`
    GetSecretResponse {
        #[prost(bytes = "vec", tag = "1")]
        pub data: Vec<u8>,
    }
    /// `ssh.proto CheckAgentRequest`
    CheckAgentRequest {
        #[prost(string, tag = "1")]
        pub id: String,
    }
    /// `auth.proto FetchTokenRequest`
    FetchTokenRequest {
        #[prost(string, tag = "2")]
        pub host: String,
        #[prost(string, tag = "3")]
        pub realm: String,
        #[prost(string, tag = "4")]
        pub service: String,
        #[prost(string, repeated, tag = "5")]
        pub scopes: Vec<String>,
    }
    /// `auth.proto FetchTokenResponse`
    FetchTokenResponse {
        #[prost(string, tag = "1")]
        pub token: String,
        #[prost(int64, tag = "2")]
        pub expires_in: i64,
        #[prost(int64, tag = "3")]
        pub issued_at: i64,
    }
    /// `auth.proto GetTokenAuthorityRequest`
    GetTokenAuthorityRequest {
        #[prost(string, tag = "1")]
        pub host: String,
        #[prost(bytes = "vec", tag = "2")]
        pub salt: Vec<u8>,
    }
    /// `auth.proto GetTokenAuthorityResponse`
    GetTokenAuthorityResponse {
        #[prost(bytes = "vec", tag = "1")]
        pub public_key: Vec<u8>,
    }
    /// `auth.proto VerifyTokenAuthorityRequest`
    VerifyTokenAuthorityRequest {
        #[prost(string, tag = "1")]
        pub host: String,
        #[prost(bytes = "vec", tag = "2")]
        pub payload: Vec<u8>,
        #[prost(bytes = "vec", tag = "3")]
        pub salt: Vec<u8>,
    }
    /// `auth.proto VerifyTokenAuthorityResponse`
    VerifyTokenAuthorityResponse {
        #[prost(bytes = "vec", tag = "1")]
        pub signed: Vec<u8>,
    }
    /// `health.proto HealthCheckResponse`
    HealthCheckResponse {
        #[prost(int32, tag = "1")]
        pub status: i32,
    }
    /// `content.proto InfoRequest`
    ContentInfoRequest {
        #[prost(string, tag = "1")]
        pub digest: String,
    }
    /// `content.proto InfoResponse`
    ContentInfoResponse {
        #[prost(message, optional, tag = "1")]
        pub info: Option<ContentInfo>,
    }
    /// `content.proto Info`
    ContentInfo {
        #[prost(string, tag = "1")]
        pub digest: String,
        #[prost(int64, tag = "2")]
        pub size: i64,
        #[prost(message, optional, tag = "3")]
        pub created_at: Option<Timestamp>,
        #[prost(message, optional, tag = "4")]
        pub updated_at: Option<Timestamp>,
        #[prost(btree_map = "string, string", tag = "5")]
        pub labels: BTreeMap<String, String>,
    }
    /// `content.proto UpdateRequest`
    ContentUpdateRequest {
        #[prost(message, optional, tag = "1")]
        pub info: Option<ContentInfo>,
    }
    /// `content.proto ReadContentRequest`
    ReadContentRequest {
        #[prost(string, tag = "1")]
        pub digest: String,
        #[prost(int64, tag = "2")]
        pub offset: i64,
        #[prost(int64, tag = "3")]
        pub size: i64,
    }
    /// `content.proto ReadContentResponse`
    ReadContentResponse {
        #[prost(int64, tag = "1")]
        pub offset: i64,
        #[prost(bytes = "bytes", tag = "2")]
        pub data: bytes::Bytes,
    }
    /// `content.proto WriteContentRequest`
    WriteContentRequest {
        #[prost(enumeration = "WriteAction", tag = "1")]
        pub action: i32,
        #[prost(string, tag = "2")]
        pub r#ref: String,
        #[prost(int64, tag = "3")]
        pub total: i64,
        #[prost(string, tag = "4")]
        pub expected: String,
        #[prost(int64, tag = "5")]
        pub offset: i64,
        #[prost(bytes = "bytes", tag = "6")]
        pub data: bytes::Bytes,
    }
    /// `content.proto WriteContentResponse`
    WriteContentResponse {
        #[prost(enumeration = "WriteAction", tag = "1")]
        pub action: i32,
        #[prost(message, optional, tag = "2")]
        pub started_at: Option<Timestamp>,
        #[prost(message, optional, tag = "3")]
        pub updated_at: Option<Timestamp>,
        #[prost(int64, tag = "4")]
        pub offset: i64,
        #[prost(int64, tag = "5")]
        pub total: i64,
        #[prost(string, tag = "6")]
        pub digest: String,
    }
}

/// `wire.proto Packet.PacketType`
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
#[expect(missing_docs, reason = "the words of the protocol")]
pub enum PacketType {
    Stat = 0,
    Req = 1,
    Data = 2,
    Fin = 3,
    Err = 4,
}

/// `content.proto WriteAction`
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
#[expect(missing_docs, reason = "the words of the protocol")]
pub enum WriteAction {
    Stat = 0,
    Write = 1,
    Commit = 2,
}
