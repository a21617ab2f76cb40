//! Platforms by one name each (`containerd platforms.Normalize`).

use super::pb;

/// Returns the one way to write a platform: `x86_64` is `amd64`, `arm64/v8` is `arm64`, an empty system is Linux.
pub(crate) fn normalise(platform: &pb::Platform) -> pb::Platform {
    let os = match platform.os.to_lowercase().as_str() {
        "" => "linux".to_owned(),
        "macos" => "darwin".to_owned(),
        os => os.to_owned(),
    };
    let variant = platform.variant.to_lowercase();
    let (architecture, variant) = match (platform.architecture.to_lowercase().as_str(), variant.as_str()) {
        ("i386", _) => ("386", ""),
        ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
        ("x86_64" | "x86-64" | "amd64", variant) => ("amd64", variant),
        ("aarch64" | "arm64", "8" | "v8" | "v8.0") => ("arm64", ""),
        ("aarch64" | "arm64", "9" | "9.0" | "v9.0") => ("arm64", "v9"),
        ("aarch64" | "arm64", variant) => ("arm64", variant),
        ("armhf", _) | ("arm", "" | "7") => ("arm", "v7"),
        ("armel", _) | ("arm", "6") => ("arm", "v6"),
        ("arm", "5") => ("arm", "v5"),
        ("arm", "8") => ("arm", "v8"),
        (architecture, variant) => {
            return pb::Platform {
                os,
                architecture: architecture.to_owned(),
                variant: variant.to_owned(),
                ..platform.clone()
            };
        }
    };
    pb::Platform { os, architecture: architecture.to_owned(), variant: variant.to_owned(), ..platform.clone() }
}

/// Returns `linux/arm/v7` and the like.
pub(super) fn name(platform: &pb::Platform) -> String {
    let parts = [platform.os.as_str(), &platform.architecture, &platform.variant];
    super::graph::clean(&parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_platform_is_one() {
        for (os, architecture, variant, text) in [
            ("Linux", "x86_64", "v1", "linux/amd64"),
            ("", "amd64", "v3", "linux/amd64/v3"),
            ("linux", "i386", "sse2", "linux/386"),
            ("linux", "aarch64", "v8", "linux/arm64"),
            ("linux", "arm", "", "linux/arm/v7"),
            ("linux", "armel", "", "linux/arm/v6"),
            ("macos", "arm64", "v9.0", "darwin/arm64/v9"),
            ("linux", "riscv64", "", "linux/riscv64"),
        ] {
            let platform = pb::Platform {
                os: os.to_owned(),
                architecture: architecture.to_owned(),
                variant: variant.to_owned(),
                ..pb::Platform::default()
            };
            assert_eq!(name(&normalise(&platform)), text);
        }
    }
}
