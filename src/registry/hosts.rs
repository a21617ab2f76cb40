//! Where a registry answers: mirrors, certificates and exceptions, as containerd's `certs.d` writes them.
//!
//! ```text
//! <directory>/<host>/hosts.toml       containerd docs/hosts.md: server, mirrors in order, what each may do
//! <directory>/<host>/*.crt            authorities (docker engine security/certificates)
//!                    *.cert, *.key    our certificate and its key, two files of one name
//! <directory>/_default/               for all hosts that have no directory of their own
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName};
use serde::Deserialize;
use toml::Spanned;

use super::duration::parse_duration;
use super::error::RegistryError;
use crate::http::Trust;

/// The most bytes of a file about hosts.
const MOST: u64 = 1 << 20;

/// What is known of registries beside their names; by default nothing but that loopback needs no encryption.
#[derive(Debug, Clone, Default)]
pub struct Hosts {
    /// Directories like `/etc/containerd/certs.d`; the first that has something about a host counts.
    pub directories: Vec<PathBuf>,
    /// Mirrors that are asked first: a registry's name and a URL.
    pub mirrors: Vec<(String, String)>,
    /// Registries (`name` or `name:port`) that may be spoken to without encryption or with a certificate of anybody.
    pub insecure: Vec<String>,
}

/// One address of a registry.
#[expect(clippy::struct_excessive_bools, reason = "what it may do, each by itself")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    /// `https://host/v2/`, or another prefix of repositories.
    pub(super) base: Url,
    /// Tags may be asked for here.
    pub(super) resolves: bool,
    /// Manifests by digest, and blobs.
    pub(super) pulls: bool,
    /// Images may be pushed here.
    pub(super) pushes: bool,
    /// Only for when the one before it cannot be reached at all.
    pub(super) is_resort: bool,
    /// Whom to believe.
    pub(super) trust: Trust,
    /// Sent with every request.
    pub(super) headers: Vec<(String, String)>,
    /// How long to wait for a connection, where the user says so.
    pub(super) connect: Option<Duration>,
}

#[derive(Deserialize, Default)]
struct File {
    server: Option<String>,
    #[serde(default)]
    host: BTreeMap<Spanned<String>, Host>,
}

#[derive(Deserialize, Default)]
struct Host {
    capabilities: Option<Vec<String>>,
    ca: Option<OneOrMore>,
    client: Option<toml::Value>,
    #[serde(default)]
    skip_verify: bool,
    #[serde(default)]
    override_path: bool,
    dial_timeout: Option<String>,
    #[serde(default)]
    header: BTreeMap<String, OneOrMore>,
}

#[derive(Deserialize, Clone)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl OneOrMore {
    fn all(&self) -> &[String] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::More(more) => more,
        }
    }
}

impl Hosts {
    /// Returns where to ask for what a registry has, in order; the registry's own address is last. `name` is the one in
    /// references, `host` the one that answers.
    pub(super) fn addresses(&self, name: &str, host: &str) -> Result<Vec<Address>, RegistryError> {
        let mut addresses = Vec::new();
        for (_, mirror) in self.mirrors.iter().filter(|(of, _)| of == name || of == host) {
            let base = base(mirror, false).ok_or_else(|| wrong(Path::new("--registry-mirror"), mirror))?;
            addresses.push(Address { pushes: false, ..Address::new(base) });
        }
        let directory = self.directory(name, host);
        let file = directory.as_deref().map(read).transpose()?.unwrap_or_default();
        addresses.extend(file.addresses);
        if let Some(server) = file.server {
            addresses.push(server);
            return Ok(addresses);
        }
        let insecure = self.insecure.iter().any(|allowed| allowed == name || allowed == host);
        let secure = Address { trust: file.trust.clone(), ..Address::new(plain_or_not(host, false)?) };
        if insecure {
            let trust = Trust { anybody: true, ..file.trust };
            addresses.push(Address { trust, ..secure });
            addresses.push(Address { is_resort: true, ..Address::new(plain_or_not(host, true)?) });
        } else if is_loopback(host) && secure.trust == Trust::default() {
            addresses.push(Address::new(plain_or_not(host, true)?));
        } else {
            addresses.push(secure);
        }
        Ok(addresses)
    }

    fn directory(&self, name: &str, host: &str) -> Option<PathBuf> {
        // In file names of some systems a colon cannot be: containerd writes `host_port_` there.
        let escaped = host.rsplit_once(':').map(|(host, port)| format!("{host}_{port}_"));
        let names = [Some(name), Some(host), escaped.as_deref(), Some("_default")];
        let mut found =
            names.into_iter().flatten().flat_map(|name| self.directories.iter().map(move |at| at.join(name)));
        found.find(|directory| directory.is_dir())
    }
}

impl Address {
    fn new(base: Url) -> Self {
        let (trust, headers) = (Trust::default(), Vec::new());
        Self { base, resolves: true, pulls: true, pushes: true, is_resort: false, trust, headers, connect: None }
    }

    /// Returns what is sent with every request, or which of it cannot be.
    pub(super) fn header_map(&self) -> Result<HeaderMap, String> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let name: HeaderName = name.parse().map_err(|_| format!("`{name}` is no name of a header"))?;
            let value = value.parse().map_err(|_| format!("the value of the header `{name}` cannot be sent"))?;
            headers.append(name, value);
        }
        Ok(headers)
    }
}

/// What a directory says.
#[derive(Default)]
struct Said {
    addresses: Vec<Address>,
    server: Option<Address>,
    trust: Trust,
}

fn read(directory: &Path) -> Result<Said, RegistryError> {
    let path = directory.join("hosts.toml");
    let Some(bytes) = bytes(&path)? else {
        return Ok(Said { trust: docker_trust(directory)?, ..Said::default() });
    };
    let text = String::from_utf8(bytes).map_err(|_| wrong(&path, "it is no UTF-8"))?;
    let unread = |error: toml::de::Error| wrong(&path, error.message());
    let file: File = toml::from_str(&text).map_err(unread)?;
    // What the registry itself is like stands beside its mirrors.
    let own: Host = toml::from_str(&text).map_err(unread)?;
    let mut hosts: Vec<(&Spanned<String>, &Host)> = file.host.iter().collect();
    // The first in the file is asked first.
    hosts.sort_by_key(|(name, _)| name.span().start);
    let mirrors = hosts.into_iter().map(|(name, host)| host.address(name.get_ref(), directory, &path));
    let addresses = mirrors.collect::<Result<_, _>>()?;
    let server = file.server.as_deref().filter(|server| !server.is_empty());
    let server = server.map(|server| own.address(server, directory, &path)).transpose()?;
    Ok(Said { addresses, server, trust: own.trust(directory, &path)? })
}

impl Host {
    fn address(&self, url: &str, directory: &Path, file: &Path) -> Result<Address, RegistryError> {
        let base = base(url, self.override_path).ok_or_else(|| wrong(file, url))?;
        let may = |what: &str| self.capabilities.as_ref().is_none_or(|all| all.iter().any(|one| one == what));
        let connect = self.dial_timeout.as_deref().map(|text| {
            parse_duration(text).ok_or_else(|| wrong(file, &format!("`dial_timeout` is no time like `3s`: `{text}`")))
        });
        let headers =
            self.header.iter().flat_map(|(name, values)| values.all().iter().map(|v| (name.clone(), v.clone())));
        Ok(Address {
            base,
            resolves: may("resolve"),
            pulls: may("pull"),
            pushes: may("push"),
            is_resort: false,
            trust: self.trust(directory, file)?,
            headers: headers.collect(),
            // As in Go, none means no other.
            connect: connect.transpose()?.filter(|connect| !connect.is_zero()),
        })
    }

    fn trust(&self, directory: &Path, file: &Path) -> Result<Trust, RegistryError> {
        let load = |name: &str| {
            let path = directory.join(name);
            bytes(&path)?.ok_or_else(|| wrong(file, &format!("`{}` is not there", path.display())))
        };
        let authorities = self.ca.iter().flat_map(OneOrMore::all).map(|name| load(name)).collect::<Result<_, _>>()?;
        // One file with both, or a pair of files; lists of either, of which the first counts.
        let mut client = self.client.as_ref();
        let mut pair: Vec<&str> = Vec::new();
        while let Some(value) = client.take() {
            match value {
                toml::Value::String(path) => pair.push(path),
                toml::Value::Array(values) => match values.as_slice() {
                    [toml::Value::String(certificate), toml::Value::String(key), ..] => {
                        pair.extend([&**certificate, key]);
                    }
                    other => client = other.first(),
                },
                _ => return Err(wrong(file, "`client` is a file, or a certificate and its key")),
            }
        }
        let mut identity = None;
        for name in pair {
            identity.get_or_insert_with(Vec::new).extend(load(name)?);
        }
        Ok(Trust { authorities, identity, anybody: self.skip_verify })
    }
}

/// Certificates as docker's engine finds them.
fn docker_trust(directory: &Path) -> Result<Trust, RegistryError> {
    let entries = fs::read_dir(directory).map_err(RegistryError::io("list", directory))?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    let mut trust = Trust::default();
    for path in paths {
        let ending = path.extension().and_then(|ending| ending.to_str());
        if ending == Some("crt") {
            trust.authorities.extend(bytes(&path)?);
        } else if ending == Some("cert") && trust.identity.is_none() {
            let key = path.with_extension("key");
            let (Some(certificate), Some(key)) = (bytes(&path)?, bytes(&key)?) else {
                return Err(wrong(&path, "its key is missing: a file of the same name that ends in .key"));
            };
            trust.identity = Some([certificate, key].concat());
        }
    }
    Ok(trust)
}

fn bytes(path: &Path) -> Result<Option<Vec<u8>>, RegistryError> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.len() > MOST => Err(wrong(path, &format!("more than {MOST} bytes"))),
        Ok(_) => fs::read(path).map(Some).map_err(RegistryError::io("read", path)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(RegistryError::io("read", path)(error)),
    }
}

fn wrong(path: &Path, reason: &str) -> RegistryError {
    RegistryError::Hosts { path: path.to_owned(), reason: reason.to_owned() }
}

/// The prefix of repositories under a mirror's URL, which may lack its scheme.
fn base(url: &str, as_is: bool) -> Option<Url> {
    let text = if url.contains("://") {
        url.to_owned()
    } else {
        let plain = is_loopback(url.split('/').next().unwrap_or(url));
        format!("{}://{url}", if plain { "http" } else { "https" })
    };
    let mut url = Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())?;
    url.set_query(None);
    url.set_fragment(None);
    let path = url.path().trim_end_matches('/').to_owned();
    // An older habit: the version as part of the mirror's path.
    let path = if as_is || path.ends_with("/v2") { format!("{path}/") } else { format!("{path}/v2/") };
    url.set_path(&path);
    Some(url)
}

fn plain_or_not(host: &str, plain: bool) -> Result<Url, RegistryError> {
    let scheme = if plain { "http" } else { "https" };
    Url::parse(&format!("{scheme}://{host}/v2/"))
        .map_err(|error| RegistryError::Reference { text: host.to_owned(), reason: error.to_string() })
}

/// Tells whether a host is this machine for certain.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bases(hosts: &Hosts, host: &str) -> Vec<String> {
        hosts.addresses(host, host).expect("addresses").iter().map(|address| address.base.to_string()).collect()
    }

    #[test]
    fn only_this_machine_and_what_is_allowed_is_spoken_to_without_encryption() {
        for host in ["localhost", "localhost:5000", "127.0.0.1:5000", "127.9.9.9", "[::1]:5000"] {
            assert!(is_loopback(host), "{host}");
            assert_eq!(bases(&Hosts::default(), host), [format!("http://{host}/v2/")]);
        }
        for host in ["localhost.evil.test", "10.0.0.1:5000", "127.0.0.1.evil.test", "docker.io", "[::2]:1", ""] {
            assert!(!is_loopback(host), "{host}");
        }
        let hosts = Hosts { insecure: vec!["r.test:5000".to_owned()], ..Hosts::default() };
        assert_eq!(bases(&hosts, "r.test:5000"), ["https://r.test:5000/v2/", "http://r.test:5000/v2/"]);
        assert_eq!(bases(&hosts, "r.test"), ["https://r.test/v2/"]);
    }

    #[test]
    fn files_about_hosts_are_read_as_containerd_reads_them() {
        let place = tempfile::TempDir::new().expect("a place");
        let write = |name: &str, text: &str| {
            let path = place.path().join(name);
            fs::create_dir_all(path.parent().expect("a directory")).expect("made");
            fs::write(path, text).expect("written");
        };
        write(
            "docker.io/hosts.toml",
            "server = 'https://registry-1.docker.io'\n\
             [host.'http://z.test:5000']\ncapabilities = ['pull']\n\
             [host.'a.test/proxy']\noverride_path = true\nskip_verify = true\nca = 'ca.pem'\ndial_timeout = '1.5s'\n\
             [host.'a.test/proxy'.header]\nx-a = ['1', '2']\n",
        );
        write("docker.io/ca.pem", "authority");
        write("r.test:443/ca.crt", "first");
        write("r.test:443/client.cert", "certificate ");
        write("r.test:443/client.key", "key");
        write("bad.test/hosts.toml", "server = 1");
        write("late.test/hosts.toml", "[host.'https://m.test']\ndial_timeout = 'soon'\n");
        write("alone.test/client.cert", "certificate");
        let hosts = Hosts {
            directories: vec![PathBuf::from("/nonexistent"), place.path().to_owned()],
            mirrors: vec![("docker.io".to_owned(), "127.0.0.1:9".to_owned())],
            ..Hosts::default()
        };
        let found = hosts.addresses("docker.io", "index.docker.io").expect("addresses");
        let bases: Vec<&str> = found.iter().map(|address| address.base.as_str()).collect();
        let expected = [
            "http://127.0.0.1:9/v2/",
            "http://z.test:5000/v2/",
            "https://a.test/proxy/",
            "https://registry-1.docker.io/v2/",
        ];
        assert_eq!(bases, expected);
        assert_eq!((found[1].resolves, found[1].pulls, found[1].pushes), (false, true, false));
        assert!(found[2].trust.anybody && found[2].trust.authorities == [b"authority"]);
        assert_eq!((found[2].headers.len(), found[2].connect), (2, Some(Duration::from_millis(1500))));
        let docker = hosts.addresses("r.test:443", "r.test:443").expect("addresses");
        assert_eq!(docker[0].trust.authorities, [b"first"]);
        assert_eq!(docker[0].trust.identity.as_deref(), Some(b"certificate key".as_slice()));
        for host in ["bad.test", "late.test", "alone.test"] {
            assert!(matches!(hosts.addresses(host, host), Err(RegistryError::Hosts { .. })), "{host}");
        }
    }
}
