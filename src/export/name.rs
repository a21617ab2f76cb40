//! Names of images.

use super::error::ExportError;
use crate::registry::Reference;

/// Returns an image's name with a tag, `latest` where there is none (`distribution-spec spec.md#pull`).
///
/// # Errors
/// `ImageName`.
pub fn checked_name(name: &str) -> Result<String, ExportError> {
    let error = || ExportError::ImageName { name: name.to_owned() };
    let after_slash = name.rfind('/').map_or(0, |at| at + 1);
    let (repository, tag) = match name[after_slash..].find(':') {
        Some(at) => (&name[..after_slash + at], &name[after_slash + at + 1..]),
        None => (name, "latest"),
    };
    let part = |part: &str| {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-:".contains(&byte);
        !part.is_empty() && part.bytes().all(plain) && part.as_bytes()[0].is_ascii_alphanumeric()
    };
    let tag_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let tag_fine = !tag.is_empty() && tag.len() <= 128 && !tag.starts_with(['.', '-']) && tag.bytes().all(tag_byte);
    if !tag_fine || repository.len() > 255 || !repository.split('/').all(part) {
        return Err(error());
    }
    Ok(format!("{repository}:{tag}"))
}

/// Returns what a name means without a registry in it: `docker.io/library/python:3.11`.
///
/// # Errors
/// `ImageName`.
pub fn reference(name: &str) -> Result<Reference, ExportError> {
    checked_name(name)?.parse().map_err(|_| ExportError::ImageName { name: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_get_a_tag_or_are_refused() {
        for (name, full) in [
            ("python", "python:latest"),
            ("python:3.11", "python:3.11"),
            ("localhost:5000/a/python", "localhost:5000/a/python:latest"),
            ("ghcr.io/x/python:v1_A", "ghcr.io/x/python:v1_A"),
        ] {
            assert_eq!(checked_name(name).expect(name), full);
        }
        for name in ["", ":x", "Python", "a b", "a//b", "a:", "a:.x", "a/../b", "../a", "a@sha256:0", "a\n"] {
            assert!(checked_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_name_means_one_at_docker_hub_unless_it_says_where() {
        for (name, full) in [
            ("python", "docker.io/library/python:latest"),
            ("x/python:1", "docker.io/x/python:1"),
            ("127.0.0.1:5000/a/python:1", "127.0.0.1:5000/a/python:1"),
        ] {
            assert_eq!(reference(name).expect(name).to_string(), full);
        }
    }
}
