//! The two architectures of the product, under all the names the field gives them.

use std::fmt;
use std::str::FromStr;

/// A target architecture. The file names of releases and every message say `x86_64` and `x86`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Arch {
    /// 64-bit x86; OCI's and Debian's `amd64`.
    X86_64,
    /// 32-bit x86 with an i686 baseline; OCI's `386`, Debian's `i386`.
    X86,
}

/// An architecture that we do not build for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown architecture `{text}`: use x86_64 (also amd64) or x86 (also i686, i386, 386)")]
pub struct ArchError {
    /// The name as given.
    pub text: String,
}

impl Arch {
    /// Every architecture, in the order of the release matrix.
    pub const ALL: [Self; 2] = [Self::X86_64, Self::X86];

    /// Returns the name used in file names, flags and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::X86 => "x86",
        }
    }

    /// Returns OCI's name, which is Go's `GOARCH` (`image-spec config.md#properties`).
    pub const fn oci(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::X86 => "386",
        }
    }

    /// Returns Debian's name.
    pub const fn debian(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::X86 => "i386",
        }
    }

    /// Returns the architecture that OCI calls `name`.
    pub fn from_oci(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|arch| arch.oci() == name)
    }

    /// Returns the triple of the musl toolchain.
    pub const fn triple(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-linux-musl",
            Self::X86 => "i386-linux-musl",
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Arch {
    type Err = ArchError;

    fn from_str(text: &str) -> Result<Self, ArchError> {
        match text {
            "x86_64" | "amd64" | "x86-64" => Ok(Self::X86_64),
            "x86" | "i686" | "i386" | "386" => Ok(Self::X86),
            _ => Err(ArchError { text: text.to_owned() }),
        }
    }
}
