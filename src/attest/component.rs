//! One piece of software.

use std::collections::BTreeSet;

use super::License;
use crate::oci::{Digest, Hasher};

/// What a component is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Code that others use.
    Library,
    /// A program.
    Application,
    /// A distribution.
    OperatingSystem,
    /// An image of a container.
    Image,
    /// An archive of files.
    Archive,
}

/// One piece of software in a result, among what made it, or the result itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Component {
    /// What it is.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Its version; empty where it has none.
    pub version: String,
    /// Its licence.
    pub license: License,
    /// Package URL.
    pub purl: Option<String>,
    /// CPE 2.3.
    pub cpe: Option<String>,
    /// Who distributes it to us: an organisation.
    pub supplier: Option<String>,
    /// Who made it: an organisation.
    pub originator: Option<String>,
    /// SHA-256 of the file that it comes in: a source archive, a package, of an image its manifest.
    pub digest: Option<Digest>,
    /// Where that file may be had, in order: addresses, or `debian:pool/…` of any Debian mirror.
    pub origins: Vec<String>,
    /// Where in the tree it was found.
    pub evidence: Option<String>,
    /// Components that it needs, by [`Component::id`].
    pub needs: BTreeSet<String>,
}

impl Component {
    /// A component of which nothing more is known.
    pub fn new(kind: Kind, name: &str, version: &str) -> Self {
        Self {
            kind,
            name: name.to_owned(),
            version: version.to_owned(),
            license: License::default(),
            purl: None,
            cpe: None,
            supplier: None,
            originator: None,
            digest: None,
            origins: Vec::new(),
            evidence: None,
            needs: BTreeSet::new(),
        }
    }

    /// Returns its name within a document: letters, digits, `.` and `-`, different for different components.
    pub fn id(&self) -> String {
        let mut hasher = Hasher::default();
        for field in [Some(&self.name), Some(&self.version), self.purl.as_ref(), self.evidence.as_ref()] {
            hasher.field(field.map_or(b"", |text| text.as_bytes()));
        }
        hasher.field(self.digest.map(|digest| digest.hex()).unwrap_or_default().as_bytes());
        hasher.update(&[self.kind as u8]);
        let name: String =
            self.name.chars().take(64).map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        format!("Package-{name}-{}", hasher.finish().short())
    }

    /// Returns the first address among its origins.
    pub fn address(&self) -> Option<&str> {
        self.origins.iter().map(String::as_str).find(|origin| is_address(origin))
    }
}

/// Tells whether an origin is a whole address, which anybody can use.
pub(super) fn is_address(origin: &str) -> bool {
    origin.starts_with("https://") || origin.starts_with("http://")
}
