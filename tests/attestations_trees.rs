//! What is installed in a tree is read from its databases, strictly; a hostile tree is refused or contained.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;

use dockless::attest::{AttestError, Component, Inventory, Kind, of_tree};
use dockless::oci::Digest;
use proptest::prelude::*;
use tempfile::TempDir;

pub(crate) const STATUS: &str = "\
Package: libc6
Status: install ok installed
Architecture: amd64
Multi-Arch: same
Source: glibc (2.36-9+deb12u1)
Version: 2.36-9+deb12u1
Provides: libc-virtual (= 1)
Description: GNU C Library
 with: colons and
 .
 more

Package: hello
Status: install ok installed
Architecture: amd64
Source: hello-src
Version: 1:2.10-3
Pre-Depends: missing | libc-virtual
Depends: libc6 (>= 2.34), no-such-thing,
 gone:any | libc6

Package: left-behind
Status: deinstall ok config-files
Architecture: amd64
Version: 1
";

pub(crate) const APK: &str = "\
C:Q1p78yvTLG094tHE1+dToJGbmYzQE=
P:musl
V:1.2.5-r0
A:x86_64
L:MIT
o:musl
p:so:libc.musl-x86_64.so.1=1
F:lib
R:ld-musl-x86_64.so.1
a:0:0:755
Z:Q1abc=

P:BusyBox
V:1.36.1-r29
A:x86_64
L:GPL-2.0-only AND custom
o:busybox
D:so:libc.musl-x86_64.so.1>=1 !conflict /bin/sh
";

const OS: &str = "NAME=\"Debian GNU/Linux\"\nID=debian\nVERSION_ID=\"12\"\n";

pub(crate) fn tree(files: &[(&str, &str)]) -> TempDir {
    let tree = TempDir::new().expect("a directory");
    for (path, text) in files {
        let path = tree.path().join(path);
        fs::create_dir_all(path.parent().expect("below the tree")).expect("a directory");
        fs::write(path, text).expect("a file");
    }
    tree
}

fn read(files: &[(&str, &str)]) -> Result<Inventory, AttestError> {
    of_tree(tree(files).path())
}

fn by_name(inventory: &Inventory) -> BTreeMap<&str, &Component> {
    inventory.components.iter().map(|component| (component.name.as_str(), component)).collect()
}

#[test]
fn packages_of_debian_are_found_with_source_and_needs() {
    let inventory = read(&[("var/lib/dpkg/status", STATUS), ("etc/os-release", OS)]).expect("reads");
    let found = by_name(&inventory);
    assert_eq!(found.keys().copied().collect::<Vec<_>>(), ["debian", "hello", "libc6"], "what is gone is not there");
    assert_eq!((found["debian"].kind, found["debian"].version.as_str()), (Kind::OperatingSystem, "12"));
    let hello = found["hello"];
    let purl = "pkg:deb/debian/hello@1:2.10-3?arch=amd64&distro=debian-12&upstream=hello-src";
    assert_eq!(hello.purl.as_deref(), Some(purl));
    assert_eq!(hello.supplier.as_deref(), Some("Debian GNU/Linux"));
    assert_eq!(hello.license.expression, None, "dpkg knows no licences");
    assert_eq!(hello.needs, [found["libc6"].id()].into());
    let purl = "pkg:deb/debian/libc6@2.36-9%2Bdeb12u1?arch=amd64&distro=debian-12&upstream=glibc";
    assert_eq!(found["libc6"].purl.as_deref(), Some(purl));
}

#[test]
fn images_without_dpkg_have_one_file_a_package() {
    let base = "Package: base-files\nVersion: 12\nArchitecture: amd64\n";
    let sums = ("var/lib/dpkg/status.d/base-files.md5sums", "0123  etc/x\n");
    let inventory = read(&[("var/lib/dpkg/status.d/base-files", base), sums]).expect("reads");
    assert_eq!(inventory.components.len(), 1);
    assert_eq!(inventory.components[0].evidence.as_deref(), Some("var/lib/dpkg/status.d/base-files"));
}

#[test]
fn packages_of_alpine_are_found_with_licence_and_needs() {
    for path in ["lib/apk/db/installed", "usr/lib/apk/db/installed"] {
        let os = "ID=alpine\nVERSION_ID=3.20.1\nNAME='Alpine Linux'\n";
        let inventory = read(&[(path, APK), ("usr/lib/os-release", os)]).expect("reads");
        let found = by_name(&inventory);
        let (musl, busybox) = (found["musl"], found["BusyBox"]);
        assert_eq!(musl.license.expression.as_deref(), Some("MIT"));
        let purl = "pkg:apk/alpine/busybox@1.36.1-r29?arch=x86_64&distro=alpine-3.20.1&upstream=busybox";
        assert_eq!(busybox.purl.as_deref(), Some(purl));
        let license = busybox.license.expression.as_deref().expect("declared");
        assert!(license.starts_with("GPL-2.0-only AND LicenseRef-custom-"), "{license}");
        assert_eq!(busybox.license.texts.values().collect::<Vec<_>>(), ["custom"]);
        assert_eq!(busybox.needs, [musl.id()].into());
    }
}

#[test]
fn python_packages_are_found_wherever_they_lie() {
    let place = |name: &str| format!("opt/python/lib/python3.11/site-packages/{name}.dist-info/METADATA");
    let inventory = read(&[
        (
            &place("a"),
            "Metadata-Version: 2.4\nName: Zope.Some_Thing\nVersion: 1.0\nLicense-Expression: MIT\n\nName: x\n",
        ),
        (&place("b"), "Name: b\nVersion: 2\nLicense: UNKNOWN\nClassifier: License :: OSI Approved :: MIT License\n"),
        (&place("c"), "Name: c\r\nVersion: 3\r\nLicense: My own\r\n        licence\r\n\r\nREADME\r\n"),
        (&place("no-name"), "Version: 3\n"),
        (&place("twice"), "Name: a\nName: b\nVersion: 3\n"),
        (&place("odd"), "Name: ../../x\nVersion: 3\n"),
        ("a/b.dist-info/RECORD", ""),
    ]);
    let inventory = inventory.expect("reads");
    let found = by_name(&inventory);
    assert_eq!(found.len(), 3);
    assert_eq!(found["Zope.Some_Thing"].purl.as_deref(), Some("pkg:pypi/zope-some-thing@1.0"));
    assert_eq!(found["Zope.Some_Thing"].license.expression.as_deref(), Some("MIT"));
    assert_eq!(found["b"].license.expression.as_deref(), Some("MIT"), "a classifier that means one licence");
    assert_eq!(found["c"].license.texts.values().collect::<Vec<_>>(), ["My own\nlicence"]);
    assert_eq!(inventory.passed.len(), 4, "what was passed over is said: {:?}", inventory.passed);
}

#[test]
fn what_python_packages_carry_within_themselves_is_found_too() {
    let inventory = read(&[
        ("lib/pip/_vendor/vendor.txt", "requests==2.28.1\n    certifi==2022.09.24  # by requests\n"),
        ("lib/pip/_vendor/other.txt", "x==1\n"),
        ("lib/vendor.txt", "y==1\n"),
        ("lib/ensurepip/_bundled/pip-22.3.1-py3-none-any.whl", "a wheel"),
        ("lib/ensurepip/_bundled/README", "no wheel"),
    ]);
    let inventory = inventory.expect("reads");
    let found = by_name(&inventory);
    assert_eq!(found.keys().copied().collect::<Vec<_>>(), ["certifi", "pip", "requests"]);
    assert_eq!(found["certifi"].purl.as_deref(), Some("pkg:pypi/certifi@2022.09.24"));
    assert_eq!(found["certifi"].license.expression.as_deref(), Some("MPL-2.0"));
    assert_eq!(found["pip"].digest, Some(Digest::of(b"a wheel")));
}

#[test]
fn a_database_that_is_none_is_an_error_with_its_line() {
    let good = "Package: a\nVersion: 1\nArchitecture: all\n";
    for (text, line) in [
        ("Package: a\nno colon here\n", 2),
        (" goes on\n", 1),
        ("Package: a\nPackage: b\nVersion: 1\n", 2),
        ("Package: ../a\nVersion: 1\n", 1),
        ("Package: a\nVersion: 1\u{1b}[2J\n", 1),
        ("Package: a\n", 1),
        ("Package: a\nVersion: 1\nStatus: install\n", 1),
        ("Package: a\nVersion: 1\nArchitecture: a b\n", 1),
        ("Package: a\nVersion: 1\nSource: b (\u{e9})\n", 1),
        ("Package: a\nVersion: 1\n\0: b\n", 3),
    ] {
        let text = format!("{good}\n{text}");
        let error = read(&[("var/lib/dpkg/status", &text)]).expect_err(&text);
        assert!(matches!(error, AttestError::Database { line: at, .. } if at == line + 4), "{text:?}: {error:?}");
        assert!(error.to_string().contains("var/lib/dpkg/status") && error.help().is_some());
    }
    for text in ["P:a\n", "V:1\n", "P:a\nP:b\nV:1\n", "P:a b\nV:1\n", "P\n", "é:1\n", "P:a\nV:1\nL:\u{7}\n"] {
        assert!(read(&[("lib/apk/db/installed", text)]).is_err(), "{text:?}");
    }
}

#[test]
fn a_tree_is_never_left_by_its_links() {
    let outside = tree(&[("status", STATUS), ("x.dist-info/METADATA", "Name: x\nVersion: 1\n"), ("os", OS)]);
    let at = |name: &str| outside.path().join(name);
    let inside = tree(&[("var/lib/dpkg/x", ""), ("lib/apk/db/x", ""), ("etc/x", ""), ("usr/real/status", STATUS)]);
    let link = |target: &std::path::Path, name: &str| symlink(target, inside.path().join(name)).expect("a link");
    link(&at("status"), "var/lib/dpkg/status");
    link(&at("os"), "etc/os-release");
    link(outside.path(), "away");
    link(&at("x.dist-info"), "x.dist-info");
    link("/../../../../../../../../../../etc/passwd".as_ref(), "lib/apk/db/installed");
    assert_eq!(of_tree(inside.path()).expect("reads"), Inventory::default(), "nothing of outside was seen");
    // A link that stays inside is followed, as a container would.
    fs::remove_file(inside.path().join("var/lib/dpkg/status")).expect("a link");
    link("/usr/real/status".as_ref(), "var/lib/dpkg/status");
    assert_eq!(of_tree(inside.path()).expect("reads").components.len(), 2);
    // A circle is an error and no end.
    fs::remove_file(inside.path().join("var/lib/dpkg/status")).expect("a link");
    link("status".as_ref(), "var/lib/dpkg/status");
    assert!(matches!(of_tree(inside.path()), Err(AttestError::Io { .. })));
}

#[test]
fn what_is_no_file_is_never_opened() {
    let inside = tree(&[("var/lib/dpkg/x", ""), ("a.dist-info/x", "")]);
    let fifo = |name: &str| {
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, inside.path().join(name), kind, mode, 0).expect("a pipe");
    };
    fifo("a.dist-info/METADATA");
    let inventory = of_tree(inside.path()).expect("it does not wait for anybody to write");
    assert_eq!((inventory.components.len(), inventory.passed.len()), (0, 1));
    fifo("var/lib/dpkg/status");
    assert!(matches!(of_tree(inside.path()), Err(AttestError::Database { .. })));
}

#[test]
fn a_database_without_end_is_refused_before_it_is_in_memory() {
    let inside = tree(&[("var/lib/dpkg/status", ""), ("a.dist-info/METADATA", "")]);
    let size =
        |name: &str, size| fs::File::options().write(true).open(inside.path().join(name)).and_then(|f| f.set_len(size));
    size("a.dist-info/METADATA", 1 << 40).expect("a sparse file");
    let inventory = of_tree(inside.path()).expect("reads");
    assert_eq!(inventory.passed.len(), 1, "{inventory:?}");
    size("var/lib/dpkg/status", 1 << 40).expect("a sparse file");
    let error = of_tree(inside.path()).expect_err("too large");
    assert!(matches!(error, AttestError::TooLarge { what: "bytes", .. }), "{error}");
}

#[test]
fn more_packages_than_anybody_has_are_refused_and_long_licences_cut() {
    let many = (0..20_001).map(|i| format!("P:a{i}\nV:1\n")).collect::<Vec<_>>().join("\n");
    let error = read(&[("lib/apk/db/installed", &many)]).expect_err("too many");
    assert!(matches!(error, AttestError::TooLarge { what: "packages", .. }), "{error}");
    let long = format!("Name: a\nVersion: 1\nLicense: {}\n", "é ".repeat(100_000));
    let inventory = read(&[("a.dist-info/METADATA", &long)]).expect("reads");
    let text = inventory.components[0].license.texts.values().next().expect("quoted");
    assert!(text.len() < 17_000 && text.ends_with("[…]"));
}

#[test]
fn a_database_of_rpm_is_said_to_be_passed_over() {
    let inventory = read(&[("var/lib/rpm/rpmdb.sqlite", "SQLite format 3")]).expect("reads");
    assert_eq!(inventory.passed[0].path.to_str(), Some("var/lib/rpm/rpmdb.sqlite"));
}

/// Text that is nearly a database.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        Just("Package: a\n".to_owned()),
        Just("Version: 1\n".to_owned()),
        Just("Name: a\n".to_owned()),
        Just("P:a\nV:1\n".to_owned()),
        Just("\n".to_owned()),
        Just(" more\n".to_owned()),
        "[A-Za-z]{1,12}: ?[ -~]{0,20}\n",
        "\\PC{0,20}\n?",
    ];
    let lines = prop::collection::vec(line, 0..12).prop_map(|lines| lines.concat().into_bytes());
    prop_oneof![lines, prop::collection::vec(any::<u8>(), 0..200)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_bytes_are_read_or_refused_and_what_is_read_is_clean(
        dpkg in nearly(), apk in nearly(), python in nearly(), os in nearly(),
    ) {
        let inside = tree(&[("var/lib/dpkg/x", ""), ("lib/apk/db/x", ""), ("a.dist-info/x", ""), ("etc/x", "")]);
        for (name, bytes) in [
            ("var/lib/dpkg/status", &dpkg),
            ("lib/apk/db/installed", &apk),
            ("a.dist-info/METADATA", &python),
            ("etc/os-release", &os),
        ] {
            fs::write(inside.path().join(name), bytes).expect("a file");
            let first = of_tree(inside.path());
            if let Ok(inventory) = &first {
                for component in &inventory.components {
                    let clean = |text: &str| !text.contains(|c: char| c.is_control() || c.is_whitespace());
                    prop_assert!(clean(&component.name) && clean(&component.version), "{component:?}");
                    prop_assert!(component.purl.iter().all(|purl| purl.bytes().all(|b| b.is_ascii_graphic())));
                }
                prop_assert_eq!(&of_tree(inside.path()).expect("once more"), inventory);
            }
            fs::remove_file(inside.path().join(name)).expect("a file");
        }
    }
}
