//! Platforms as people write them: `linux/amd64`, `arm64`, `linux/arm/v7` (containerd `platforms.Parse`).

use super::error::Fault;
use crate::llb::pb;

/// A platform, under the names the field agreed upon.
pub(super) type Platform = pb::Platform;

const SYSTEMS: [&str; 8] = ["linux", "windows", "darwin", "macos", "freebsd", "netbsd", "openbsd", "wasip1"];

/// Parses and normalises a platform.
pub(super) fn parse(text: &str) -> Result<Platform, Fault> {
    let plain = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
    };
    let parts: Vec<&str> = text.split('/').collect();
    let (os, architecture, variant) = match parts.as_slice() {
        [one] if SYSTEMS.contains(&one.to_lowercase().as_str()) => (*one, "amd64", ""),
        [one] => ("linux", *one, ""),
        [os, architecture] => (*os, *architecture, ""),
        [os, architecture, variant] => (*os, *architecture, *variant),
        _ => ("", "", ""),
    };
    if !parts.iter().all(|part| plain(part)) || architecture.is_empty() {
        let fault = Fault::new(format!("`{text}` is no platform")).help("write OS/ARCHITECTURE, as linux/amd64");
        return Err(if text.is_empty() { fault } else { fault.about(text) });
    }
    let platform = Platform {
        os: os.to_owned(),
        architecture: architecture.to_owned(),
        variant: variant.to_owned(),
        ..Platform::default()
    };
    Ok(crate::llb::normalise(&platform))
}

/// Returns `linux/arm/v7` and the like.
pub(super) fn name(platform: &Platform) -> String {
    let parts = [platform.os.as_str(), &platform.architecture, &platform.variant];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
}
