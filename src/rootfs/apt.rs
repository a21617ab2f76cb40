//! What apt on this machine is configured with, read from the text of its files (`sources.list(5)`).
//!
//! Pure: the caller reads the files. Lenient where apt's own files may hold what does not concern us (a broken or
//! foreign entry is passed over), strict in what counts as a Debian mirror: an entry with the component `main` of a
//! suite of Debian's archive. Security archives have another pool (`pool/updates/`) and are left out, and so are
//! entries that are switched off, flat repositories, and methods that are not plain files or HTTP.

use std::collections::BTreeMap;

/// One entry, for all its URIs and suites.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AptSource {
    /// Addresses of archives, e.g. `http://mirror.example/debian`.
    pub uris: Vec<String>,
    /// Suites or codenames.
    pub suites: Vec<String>,
    /// Components; empty for a flat repository.
    pub components: Vec<String>,
    /// The value of `Signed-By`: key files, fingerprints, or a whole key (then of several lines, as they stand).
    pub signed_by: Option<String>,
}

/// Suites and codenames of Debian's archive since its mirrors carry `main` of them together.
const SUITES: &[&str] = &[
    "buster",
    "bullseye",
    "bookworm",
    "trixie",
    "forky",
    "duke",
    "sid",
    "stable",
    "oldstable",
    "oldoldstable",
    "testing",
    "unstable",
    "experimental",
];

/// What may follow the name of a suite that shares the pool of `main`.
const SUFFIXES: &[&str] = &["", "-updates", "-proposed-updates", "-backports", "-backports-sloppy"];

impl AptSource {
    /// Tells whether its URIs are mirrors of Debian's own archive.
    pub fn is_debian(&self) -> bool {
        let debian = |suite: &String| {
            SUITES.iter().any(|name| suite.strip_prefix(name).is_some_and(|rest| SUFFIXES.contains(&rest)))
        };
        self.components.iter().any(|component| component == "main") && self.suites.iter().any(debian)
    }

    /// Returns the URIs that can be fetched from, without a slash at the end; `mirror+file:` ones are lists of more.
    pub fn mirrors(&self) -> impl Iterator<Item = String> {
        const METHODS: &[&str] = &["http://", "https://", "file:/", "copy:/", "mirror+file:/"];
        self.uris.iter().filter(|uri| METHODS.iter().any(|method| uri.starts_with(method))).map(|uri| {
            let uri = uri.trim_end_matches('/');
            uri.strip_prefix("copy:").map_or_else(|| uri.to_owned(), |path| format!("file:{path}"))
        })
    }
}

/// Reads a file in the one-line format, `sources.list` or `*.list`.
pub fn parse_list(text: &str) -> Vec<AptSource> {
    text.lines().filter_map(|line| parse_line(line.split('#').next().unwrap_or_default())).collect()
}

fn parse_line(line: &str) -> Option<AptSource> {
    let rest = line.trim();
    let rest = rest.strip_prefix("deb-src").or_else(|| rest.strip_prefix("deb"))?;
    if !rest.starts_with([' ', '\t', '[']) {
        return None;
    }
    let mut rest = rest.trim_start();
    let mut signed_by = None;
    if let Some(inner) = rest.strip_prefix('[') {
        let (options, after) = inner.split_once(']')?;
        for option in options.split_whitespace() {
            if let Some(("signed-by", value)) = option.split_once('=') {
                signed_by = Some(value.to_owned());
            }
        }
        rest = after.trim_start();
    }
    // A cdrom's address has blanks: cdrom:[Debian GNU/Linux 12 …]/
    if rest.starts_with("cdrom:") {
        return None;
    }
    let mut words = rest.split_whitespace().map(str::to_owned);
    Some(AptSource { uris: vec![words.next()?], suites: vec![words.next()?], components: words.collect(), signed_by })
}

/// Reads a file in the deb822 format, `*.sources`.
pub fn parse_sources(text: &str) -> Vec<AptSource> {
    let mut found = Vec::new();
    let mut fields: BTreeMap<String, String> = BTreeMap::new();
    let mut last: Option<String> = None;
    for line in text.lines().chain([""]) {
        if line.starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            found.extend(stanza(&std::mem::take(&mut fields)));
            last = None;
        } else if line.starts_with([' ', '\t']) {
            if let Some(value) = last.as_ref().and_then(|name| fields.get_mut(name)) {
                value.push('\n');
                value.push_str(line);
            }
        } else if let Some((name, value)) = line.split_once(':') {
            let name = name.trim().to_ascii_lowercase();
            fields.insert(name.clone(), value.trim().to_owned());
            last = Some(name);
        }
    }
    found
}

fn stanza(fields: &BTreeMap<String, String>) -> Option<AptSource> {
    let words = |name: &str| -> Vec<String> {
        fields.get(name).map(|value| value.split_whitespace().map(str::to_owned).collect()).unwrap_or_default()
    };
    let off =
        |value: &String| ["no", "false", "without", "off", "disable", "0"].contains(&value.to_lowercase().as_str());
    if fields.get("enabled").is_some_and(off) || words("uris").is_empty() {
        return None;
    }
    Some(AptSource {
        uris: words("uris"),
        suites: words("suites"),
        components: words("components"),
        signed_by: fields.get("signed-by").cloned().filter(|value| !value.is_empty()),
    })
}

/// Reads a list that a `mirror+file:` URI names: one mirror a line, perhaps with remarks behind a tab or blank.
pub fn parse_mirror_list(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| line.split('#').next()?.split_whitespace().next())
        .filter(|uri| ["http://", "https://", "file:/"].iter().any(|method| uri.starts_with(method)))
        .map(|uri| uri.trim_end_matches('/').to_owned())
        .collect()
}

/// Returns the entries that are mirrors of Debian's archive: those that say so in their path first, because other
/// people's archives use Debian's words for suites too.
pub fn debian_sources(sources: Vec<AptSource>) -> Vec<AptSource> {
    let (named, others): (Vec<_>, Vec<_>) = sources
        .into_iter()
        .filter(AptSource::is_debian)
        .partition(|source| source.uris.iter().any(|uri| uri.to_lowercase().contains("debian")));
    named.into_iter().chain(others).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mirrors(sources: Vec<AptSource>) -> Vec<String> {
        debian_sources(sources).iter().flat_map(AptSource::mirrors).collect()
    }

    #[test]
    fn one_line_entries_give_their_mirror() {
        let text = "\
# deb http://off.test/debian bookworm main
deb cdrom:[Debian GNU/Linux 12.0.0 _Bookworm_ - Official amd64 DVD Binary-1]/ bookworm main contrib
deb [ arch=amd64,i386 signed-by=/usr/share/keyrings/k.gpg ] http://one.test/debian/ bookworm main non-free # tail
deb-src\thttp://two.test/debian\tbookworm-updates\tmain
deb http://sec.test/debian-security bookworm-security main
deb http://old.test/debian-security buster/updates main
deb https://third.test/apt cloud-sdk-bookworm main
deb https://docker.test/linux/debian bookworm stable
deb https://flat.test/debian ./
deb tor+http://onion.test/debian bookworm main
deb [broken http://x.test/debian bookworm main
debris http://x.test/debian bookworm main
deb https://vendor.test/repo bookworm main
deb file:/srv/debian bookworm main
";
        assert_eq!(
            mirrors(parse_list(text)),
            ["http://one.test/debian", "http://two.test/debian", "file:/srv/debian", "https://vendor.test/repo"]
        );
        assert_eq!(parse_list(text)[0].signed_by.as_deref(), Some("/usr/share/keyrings/k.gpg"));
    }

    #[test]
    fn deb822_stanzas_give_their_mirrors() {
        let text = "\
Types: deb deb-src
# http://comment.test/debian
URIs: http://one.test/debian
 https://two.test/debian/
suites: bookworm
# in the middle of a field
\tbookworm-updates
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc=

Types: deb
Enabled: no
URIs: http://off.test/debian
Suites: bookworm
Components: main

Types: deb
URIs: http://sec.test/debian-security
Suites: bookworm-security
Components: main

URIs: mirror+file:/etc/apt/mirrors/debian.list
Suites: trixie
Components: main";
        let sources = parse_sources(text);
        assert_eq!(sources[0].suites, ["bookworm", "bookworm-updates"]);
        assert!(sources[0].signed_by.as_ref().is_some_and(|key| key.ends_with(" .\n abc=")));
        assert_eq!(
            mirrors(sources),
            ["http://one.test/debian", "https://two.test/debian", "mirror+file:/etc/apt/mirrors/debian.list"]
        );
    }

    #[test]
    fn a_list_of_mirrors_is_read() {
        let text = "# ours\nhttp://one.test/debian\tpriority:1\nftp://no.test/\nhttps://two.test/debian/ # x\n\n";
        assert_eq!(parse_mirror_list(text), ["http://one.test/debian", "https://two.test/debian"]);
    }
}
