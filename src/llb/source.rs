//! The words of source operations: schemes (`source/types`) and attributes (`attr.go`).

/// Scheme of an image of a registry.
pub const IMAGE: &str = "docker-image";
/// Scheme of one blob of a registry, delivered as a file.
pub const IMAGE_BLOB: &str = "docker-image+blob";
/// Scheme of an image of an OCI layout.
pub const LAYOUT: &str = "oci-layout";
/// Scheme of one blob of an OCI layout, delivered as a file.
pub const LAYOUT_BLOB: &str = "oci-layout+blob";
/// Scheme of a directory of the client.
pub const LOCAL: &str = "local";
/// Scheme of a repository, whatever protocol it is fetched by.
pub const GIT: &str = "git";
/// Scheme of a file.
pub const HTTP: &str = "http";
/// Scheme of a file.
pub const HTTPS: &str = "https";

/// Whether to ask the registry: `default`, `pull` or `local`.
pub const IMAGE_RESOLVE_MODE: &str = "image.resolvemode";
/// Only this many layers, from the lowest on.
pub const IMAGE_LAYER_LIMIT: &str = "image.layerlimit";
/// The digest that the reference must have.
pub const IMAGE_CHECKSUM: &str = "image.checksum";
/// Name of the client's layout.
pub const OCI_STORE: &str = "oci.store";
/// Only this many layers, from the lowest on.
pub const OCI_LAYER_LIMIT: &str = "oci.layerlimit";

/// JSON list of patterns a local source is limited to.
pub const LOCAL_INCLUDE: &str = "local.includepattern";
/// JSON list of patterns that a local source leaves out.
pub const LOCAL_EXCLUDE: &str = "local.excludepatterns";
/// JSON list of paths that are included together with what symbolic links among them lead to.
pub const LOCAL_FOLLOW: &str = "local.followpaths";
/// What local sources that may share a transfer have in common.
pub const LOCAL_SHARED_KEY: &str = "local.sharedkeyhint";
/// What local sources of one build have in common and others have not.
pub const LOCAL_UNIQUE: &str = "local.unique";
/// Whether files come without their bytes.
pub const LOCAL_METADATA_ONLY: &str = "local.metadatatransfer";

/// The digest that a file must have.
pub const HTTP_CHECKSUM: &str = "http.checksum";
/// File name of a fetched file.
pub const HTTP_FILENAME: &str = "http.filename";
/// Permissions of a fetched file, a number as Go reads it.
pub const HTTP_PERM: &str = "http.perm";
/// Owner of a fetched file.
pub const HTTP_UID: &str = "http.uid";
/// Group of a fetched file.
pub const HTTP_GID: &str = "http.gid";
/// Name of the secret that is the `Authorization` header.
pub const HTTP_AUTH_SECRET: &str = "http.authheadersecret";
/// Before the name of a header field.
pub const HTTP_HEADER: &str = "http.header.";
/// Before the attributes of a signature that must be verified.
pub const HTTP_SIGNATURE: &str = "http.sig.";

/// Whether the repository itself stays in the tree.
pub const GIT_KEEP_DIR: &str = "git.keepgitdir";
/// The whole address of the repository.
pub const GIT_FULL_URL: &str = "git.fullurl";
/// Name of the secret that is the `Authorization` header.
pub const GIT_AUTH_HEADER: &str = "git.authheadersecret";
/// Name of the secret that is an access token.
pub const GIT_AUTH_TOKEN: &str = "git.authtokensecret";
/// Content of a `known_hosts` file.
pub const GIT_KNOWN_HOSTS: &str = "git.knownsshhosts";
/// ID of the client's SSH agent.
pub const GIT_SSH_SOCKET: &str = "git.mountsshsock";
/// How the commit's name must begin.
pub const GIT_CHECKSUM: &str = "git.checksum";
/// Whether submodules are left out.
pub const GIT_SKIP_SUBMODULES: &str = "git.skipsubmodules";
/// `commit` or `checkout`.
pub const GIT_MTIME: &str = "git.mtime";
/// Whether the server is asked for the commit instead of the reference.
pub const GIT_FETCH_BY_COMMIT: &str = "git.fetchbycommit";
/// Where a bundle with the commits is.
pub const GIT_BUNDLE: &str = "git.bundle";
/// Whether a bundle is delivered instead of a tree.
pub const GIT_CHECKOUT_BUNDLE: &str = "git.checkoutbundle";
/// Before the attributes of a signature that must be verified.
pub const GIT_SIGNATURE: &str = "git.sig.";
