//! Names that others know a piece of software by: package URLs (`purl-spec PURL-SPECIFICATION`) and CPE 2.3 formatted
//! strings (NISTIR 7695 section 6.2).

use std::fmt::Write as _;

/// Returns `pkg:type/namespace/name@version?qualifiers`; empty parts are left out, qualifiers sorted.
///
/// `kind`, `name` and `namespace` are as the type wants them, e.g. in lower case; a namespace may hold `/`.
pub fn purl(kind: &str, namespace: &str, name: &str, version: &str, qualifiers: &[(&str, &str)]) -> String {
    let mut purl = format!("pkg:{kind}");
    for part in namespace.split('/').filter(|part| !part.is_empty()).chain([name]) {
        purl.push('/');
        encode(&mut purl, part);
    }
    if !version.is_empty() {
        purl.push('@');
        encode(&mut purl, version);
    }
    let mut qualifiers: Vec<_> = qualifiers.iter().filter(|(_, value)| !value.is_empty()).collect();
    qualifiers.sort_unstable();
    for (index, (key, value)) in qualifiers.into_iter().enumerate() {
        purl.push(if index == 0 { '?' } else { '&' });
        purl.push_str(key);
        purl.push('=');
        encode(&mut purl, value);
    }
    purl
}

/// Writes everything but unreserved characters and `:` as percent and two digits.
fn encode(into: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b".-_~:".contains(&byte) {
            into.push(char::from(byte));
        } else {
            write!(into, "%{byte:02X}").expect("a string takes everything");
        }
    }
}

/// Returns the CPE of an application; a pre-release or a patch date goes into the update, as the NVD has them.
///
/// `product` is `vendor:product`, checked when the recipe was read.
pub fn cpe(product: &str, version: &str) -> Option<String> {
    let (vendor, product) = product.split_once(':')?;
    let (version, update) = split(version);
    let [vendor, product, version, update] = [vendor, product, version, &update].map(escape);
    Some(format!("cpe:2.3:a:{vendor}:{product}:{version}:{update}:*:*:*:*:*:*"))
}

/// Splits `3.15.0rc1` into `3.15.0` and `rc1`, `6.5+20250216` into `6.5` and `20250216`.
fn split(version: &str) -> (&str, String) {
    if let Some((version, update)) = version.split_once('+') {
        return (version, update.to_owned());
    }
    for (short, long) in [("rc", "rc"), ("a", "alpha"), ("b", "beta")] {
        if let Some((release, number)) = version.rsplit_once(short)
            && release.ends_with(|c: char| c.is_ascii_digit())
            && !number.is_empty()
            && number.bytes().all(|b| b.is_ascii_digit())
        {
            return (release, format!("{long}{number}"));
        }
    }
    (version, String::new())
}

/// Quotes a value of a formatted string; what cannot stand in one at all becomes `_`, and nothing is any.
fn escape(value: &str) -> String {
    if value.is_empty() {
        return "*".to_owned();
    }
    let mut escaped = String::new();
    for c in value.chars() {
        match c.to_ascii_lowercase() {
            c if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') => escaped.push(c),
            c if c.is_ascii_graphic() => escaped.extend(['\\', c]),
            _ => escaped.push('_'),
        }
    }
    // Alone it would mean that there is none.
    if escaped == "-" { "\\-".to_owned() } else { escaped }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn package_urls_are_canonical() {
        assert_eq!(
            purl("deb", "debian", "libstdc++6", "1:12.2.0-14+deb12u1", &[("distro", "debian-12"), ("arch", "amd64")]),
            "pkg:deb/debian/libstdc%2B%2B6@1:12.2.0-14%2Bdeb12u1?arch=amd64&distro=debian-12"
        );
        let url = [("download_url", "https://a.b/c d?e#f"), ("checksum", "sha256:00"), ("arch", "")];
        assert_eq!(
            purl("generic", "", "x/é", "", &url),
            "pkg:generic/x%2F%C3%A9?checksum=sha256:00&download_url=https:%2F%2Fa.b%2Fc%20d%3Fe%23f"
        );
        assert_eq!(purl("docker", "a.b:5000//c", "d", "1", &[]), "pkg:docker/a.b:5000/c/d@1");
    }

    #[test]
    fn cpes_name_versions_as_the_vulnerability_database_does() {
        let version = |version| cpe("v:p", version).expect("a product");
        assert_eq!(version("3.11.2"), "cpe:2.3:a:v:p:3.11.2:*:*:*:*:*:*:*");
        assert_eq!(version("3.15.0rc1"), "cpe:2.3:a:v:p:3.15.0:rc1:*:*:*:*:*:*");
        assert_eq!(version("3.15.0a7"), "cpe:2.3:a:v:p:3.15.0:alpha7:*:*:*:*:*:*");
        assert_eq!(version("6.5+20250216"), "cpe:2.3:a:v:p:6.5:20250216:*:*:*:*:*:*");
        assert_eq!(version("1.1.1w"), "cpe:2.3:a:v:p:1.1.1w:*:*:*:*:*:*:*");
        assert_eq!(version("1:2~é *"), "cpe:2.3:a:v:p:1\\:2\\~__\\*:*:*:*:*:*:*:*");
        assert_eq!(version("-"), "cpe:2.3:a:v:p:\\-:*:*:*:*:*:*:*");
        assert_eq!(cpe("none", "1"), None);
    }
}
