//! A real registry: Debian's `docker-registry` on a free port of loopback, one a test; and who gives tokens for it.
//!
//! ```text
//! config.yml, registry.log, data/     what the program reads, says and keeps
//! ca.crt, ca.key                      an authority of this registry alone
//! server.crt, server.key              its word for the server
//! client.crt, client.key              and for whoever has them
//! token.crt, token.key                what tokens are signed with
//! ```

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use dockless::registry::Reference;
use tempfile::TempDir;

use super::skip;
use crate::fetching_server::{Request, Server, respond, whole};

/// Whom registries with a password know.
pub(crate) const USER: &str = "somebody";
/// And by what.
pub(crate) const PASSWORD: &str = "secret";
/// The same for a file of htpasswd(1), bcrypt.
const HTPASSWD: &str = "somebody:$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW\n";
/// Who may come as `USER` without a password, where tokens are given.
pub(crate) const IDENTITY: &str = "identity-token";

/// How a registry differs from the plain one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum With {
    /// Knows `USER` by `PASSWORD` only.
    Login,
    /// Asks for tokens, which are given to `USER` for everything and to others for pulling from `public/…`.
    Token,
    /// Speaks TLS with a certificate of its own authority.
    Tls,
    /// The same, and only to those who have a certificate of that authority.
    Clients,
    /// Takes nothing.
    ReadOnly,
    /// Deletes when asked to.
    Deletes,
}

/// A running registry; ends with this.
pub(crate) struct DockerRegistry {
    child: Child,
    port: u16,
    place: TempDir,
    _tokens: Option<Server>,
}

impl DockerRegistry {
    /// Starts one; `None` where the machine lacks what it takes, which has been said then.
    pub(crate) fn start(with: &[With]) -> Option<Self> {
        let place = TempDir::new().expect("a place");
        let has = |one| with.contains(&one);
        if (has(With::Tls) || has(With::Clients) || has(With::Token)) && !certificates(place.path()) {
            skip("openssl", "the program is not on this machine");
            return None;
        }
        fs::write(place.path().join("htpasswd"), HTPASSWD).expect("written");
        let tokens = has(With::Token).then(|| tokens(place.path()));
        // A port that was free may be taken by another test before the program has it.
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("loopback").port();
            let file = place.path().join("config.yml");
            fs::write(&file, config(with, place.path(), port, tokens.as_ref())).expect("written");
            let log = || Stdio::from(fs::File::create(place.path().join("registry.log")).expect("a log"));
            let started = Command::new("docker-registry").arg("serve").arg(&file).stdout(log()).stderr(log()).spawn();
            let Ok(mut child) = started else {
                skip("docker-registry", "the program is not on this machine");
                return None;
            };
            if answers(&mut child, port) {
                return Some(Self { child, port, place, _tokens: tokens });
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        let log = fs::read_to_string(place.path().join("registry.log")).unwrap_or_default();
        panic!("the registry does not answer: {log}");
    }

    /// Its name: `127.0.0.1:port`.
    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn reference(&self, rest: &str) -> Reference {
        format!("{}/{rest}", self.host()).parse().expect("a reference")
    }

    /// A file of the place: `ca.crt`, `client.key`, …
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// What docker's `config.json` says of it after a login as `USER`.
    pub(crate) fn login(&self) -> String {
        let auth = STANDARD.encode(format!("{USER}:{PASSWORD}"));
        format!(r#"{{"auths":{{"{}":{{"auth":"{auth}"}}}}}}"#, self.host())
    }

    /// Tells whether it keeps a blob's bytes, whatever repository they belong to.
    pub(crate) fn keeps(&self, digest: &dockless::oci::Digest) -> bool {
        let hex = digest.hex();
        self.file("data/docker/registry/v2/blobs/sha256").join(&hex[..2]).join(&hex).is_dir()
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn answers(child: &mut Child, port: u16) -> bool {
    for _ in 0..800 {
        if !matches!(child.try_wait(), Ok(None)) {
            return false;
        }
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            // Whoever answers may be another one: the program ends if it did not get the port.
            thread::sleep(Duration::from_millis(20));
            return matches!(child.try_wait(), Ok(None));
        }
        thread::sleep(Duration::from_millis(25));
    }
    false
}

#[expect(clippy::format_push_string, reason = "a configuration is a text")]
fn config(with: &[With], place: &Path, port: u16, tokens: Option<&Server>) -> String {
    let has = |one| with.contains(&one);
    let at = |name: &str| place.join(name).display().to_string();
    let mut text = format!(
        "version: 0.1\nlog: {{level: warn, accesslog: {{disabled: true}}}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\n",
        at("data")
    );
    if has(With::Deletes) {
        text.push_str("  delete: {enabled: true}\n");
    }
    if has(With::ReadOnly) {
        text.push_str("  maintenance: {readonly: {enabled: true}}\n");
    }
    text.push_str(&format!("http:\n  addr: 127.0.0.1:{port}\n"));
    if has(With::Tls) || has(With::Clients) {
        text.push_str(&format!("  tls:\n    certificate: {}\n    key: {}\n", at("server.crt"), at("server.key")));
    }
    if has(With::Clients) {
        text.push_str(&format!("    clientcas: [{}]\n", at("ca.crt")));
    }
    if has(With::Login) {
        text.push_str(&format!("auth: {{htpasswd: {{realm: here, path: {}}}}}\n", at("htpasswd")));
    }
    if let Some(tokens) = tokens {
        text.push_str(&format!(
            "auth:\n  token: {{realm: '{}', service: here, issuer: tests, rootcertbundle: {}}}\n",
            tokens.url("token"),
            at("token.crt")
        ));
    }
    text
}

/// Makes an authority and what it vouches for; false where there is no openssl.
fn certificates(place: &Path) -> bool {
    let section = |name: &str, rest: &str| format!("[{name}]\nsubjectKeyIdentifier=hash\n{rest}\n");
    let config = format!(
        "[req]\ndistinguished_name=dn\n[dn]\n{}{}{}",
        section("ca", "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,digitalSignature"),
        section("server", "basicConstraints=CA:FALSE\nsubjectAltName=IP:127.0.0.1,DNS:localhost"),
        section("client", "basicConstraints=CA:FALSE\nextendedKeyUsage=clientAuth\nsubjectAltName=DNS:client"),
    );
    fs::write(place.join("openssl.cnf"), config).expect("written");
    let make = |name: &str, kind: &str, key: &[&str], signed: &[&str]| {
        let mut command = Command::new("openssl");
        command.current_dir(place).args(["req", "-x509", "-config", "openssl.cnf", "-nodes", "-days", "30"]);
        command.args(["-extensions", kind, "-subj", &format!("/CN={name}")]).args(key).args(signed);
        command.args(["-keyout", &format!("{name}.key"), "-out", &format!("{name}.crt")]);
        let Ok(made) = command.output() else { return false };
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        true
    };
    let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
    let ours = ["-CA", "ca.crt", "-CAkey", "ca.key"];
    make("ca", "ca", &curve, &[])
        && make("server", "server", &curve, &ours)
        && make("client", "client", &curve, &ours)
        && make("token", "ca", &["-newkey", "rsa:2048"], &[])
}

/// Gives tokens (`distribution docs/spec/auth/token.md`, `oauth.md`).
fn tokens(place: &Path) -> Server {
    let place = place.to_owned();
    let password = format!("Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")));
    Server::start(move |request, stream| {
        let asked = asked(request);
        let value = |name: &str| asked.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let basic = request.headers.get("authorization");
        let known = basic == Some(&password) || value("refresh_token") == Some(IDENTITY);
        if (basic.is_some() || value("refresh_token").is_some()) && !known {
            respond(stream, "401 Unauthorized", &["Content-Length: 0"], b"");
            return;
        }
        let scopes = asked.iter().filter(|(key, _)| key == "scope").flat_map(|(_, value)| value.split(' '));
        let access: Vec<String> = scopes
            .filter_map(|scope| {
                let (kind, rest) = scope.split_once(':')?;
                let (name, actions) = rest.rsplit_once(':')?;
                let allowed = known || name.starts_with("public/");
                let actions: Vec<String> = actions
                    .split(',')
                    .filter(|action| allowed && (known || *action == "pull"))
                    .map(|action| format!("\"{action}\""))
                    .collect();
                Some(format!(r#"{{"type":"{kind}","name":"{name}","actions":[{}]}}"#, actions.join(",")))
            })
            .collect();
        let token = signed(&place, &access.join(","));
        let name = if request.method == "POST" { "access_token" } else { "token" };
        whole(stream, format!(r#"{{"{name}":"{token}","expires_in":300}}"#).as_bytes());
    })
}

/// What is asked for in the address or in a form.
fn asked(request: &Request) -> Vec<(String, String)> {
    let query = request.target.split_once('?').map_or("", |(_, query)| query);
    let form = String::from_utf8_lossy(&request.body).into_owned();
    let form = if request.method == "POST" { &form } else { "" };
    let url = reqwest::Url::parse(&format!("http://x/?{query}&{form}")).expect("a URL");
    url.query_pairs().map(|(key, value)| (key.into_owned(), value.into_owned())).collect()
}

/// A JSON web token that lives as long as anybody (RFC 7519, RFC 7515 `x5c`).
fn signed(place: &Path, access: &str) -> String {
    let pem = fs::read_to_string(place.join("token.crt")).expect("a certificate");
    let der: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let header = format!(r#"{{"typ":"JWT","alg":"RS256","x5c":["{der}"]}}"#);
    let claims = format!(
        r#"{{"iss":"tests","sub":"{USER}","aud":"here","nbf":0,"iat":0,"exp":9999999999,"jti":"1","access":[{access}]}}"#
    );
    let payload = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let work = TempDir::new_in(place).expect("a place");
    let file = work.path().join("payload");
    fs::write(&file, &payload).expect("written");
    let signed = Command::new("openssl")
        .args(["dgst", "-sha256", "-sign"])
        .arg(place.join("token.key"))
        .arg(&file)
        .output()
        .expect("openssl was there");
    assert!(signed.status.success(), "{}", String::from_utf8_lossy(&signed.stderr));
    format!("{payload}.{}", URL_SAFE_NO_PAD.encode(signed.stdout))
}
