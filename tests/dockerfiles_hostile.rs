//! Any text is a Dockerfile or an error whose picture lies in it, whatever it was made of.

use dockless::dockerfile::{Dockerfile, Options, ResolveError, Wanted, lower, stages};
use dockless::llb::pb;
use dockless::oci::Digest;
use proptest::prelude::*;

fn resolver(wanted: &Wanted, _: &pb::Platform) -> Result<(Digest, Vec<u8>), ResolveError> {
    match wanted {
        Wanted::Image(name) if name.contains("gone") => Err("gone".into()),
        _ => Ok((Digest::of(b"image"), br#"{"architecture":"amd64","os":"linux","config":{"Env":["A=b"],"OnBuild":["RUN x"]},"rootfs":{"type":"layers","diff_ids":["sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]}}"#.to_vec())),
    }
}

/// Lowers a text; what comes must fit together.
fn holds(text: &str) {
    let file = Dockerfile { name: "Dockerfile", text };
    let _ = stages(file);
    match lower(file, &Options::default(), &resolver) {
        Ok(lowered) => {
            let again = lower(file, &Options::default(), &resolver).expect("as before");
            assert_eq!(lowered.graph.map(|graph| graph.to_bytes()), again.graph.map(|graph| graph.to_bytes()));
            assert_eq!(lowered.image, again.image);
        }
        Err(error) => {
            let _ = error.help();
            if let Some(picture) = error.picture() {
                assert!(picture.text.get(picture.span.clone()).is_some(), "{:?} of {text:?}", picture.span);
            }
            assert!(!matches!(error, dockless::dockerfile::DockerfileError::Graph(_)), "{error:?} of {text:?}");
        }
    }
}

/// Pieces of which lines are made.
const PIECES: [&str; 72] = [
    "FROM ",
    "scratch",
    "debian",
    " AS ",
    "base",
    "RUN ",
    "COPY ",
    "ADD ",
    "ENV ",
    "ARG ",
    "LABEL ",
    "USER ",
    "WORKDIR ",
    "CMD ",
    "ENTRYPOINT ",
    "EXPOSE ",
    "VOLUME ",
    "STOPSIGNAL ",
    "HEALTHCHECK ",
    "ONBUILD ",
    "SHELL ",
    "MAINTAINER ",
    "--from=",
    "--chown=",
    "--chmod=",
    "--link",
    "--parents",
    "--exclude=",
    "--checksum=sha256:",
    "--keep-git-dir",
    "--mount=type=",
    "cache",
    "bind",
    "secret",
    "tmpfs",
    "ssh",
    ",target=",
    ",id=",
    ",from=",
    ",uid=",
    ",mode=",
    ",ro",
    "--network=",
    "host",
    "--security=",
    "--platform=",
    "linux/amd64",
    "$BUILDPLATFORM",
    "$",
    "${A",
    ":-",
    ":+",
    "%%",
    "##",
    "}",
    "\"",
    "'",
    "[",
    "]",
    "\\\n",
    "\\",
    "\n",
    "\n",
    "\n",
    " ",
    "=",
    "a",
    "/b",
    "<<EOF",
    "\nEOF\n",
    "# escape=`\n",
    "é\u{0}",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pieces_of_dockerfiles_never_surprise(parts in prop::collection::vec(0..PIECES.len(), 0..60)) {
        let text: String = parts.into_iter().map(|part| PIECES[part]).collect();
        holds(&text);
        holds(&format!("FROM scratch\n{text}"));
        holds(&format!("ARG A=b\nFROM debian AS base\n{text}\nFROM base\nCOPY --from=0 /a /b\n"));
    }

    #[test]
    fn any_text_is_a_dockerfile_or_an_error(text in "\\PC{0,200}") {
        holds(&text);
        holds(&format!("FROM a\n{text}"));
    }
}

#[test]
fn what_is_deep_or_large_is_refused_and_does_not_take_long() {
    let deep = format!("FROM scratch\nENV A={}x{}\n", "${A:-".repeat(20_000), "}".repeat(20_000));
    holds(&deep);
    holds(&format!("FROM scratch\n{}RUN x\n", "ONBUILD ".repeat(20_000)));
    holds(&format!("FROM scratch\nRUN {}\n", "a \\\n".repeat(200_000)));
    holds(&format!("FROM scratch\n{}", "RUN <<A\n".repeat(50_000)));
    holds(&"FROM scratch\n".repeat(5_000));
    // Words that double with every line.
    holds(&format!("FROM scratch\nENV A=aaaaaaaa\n{}", "ENV A=$A$A\n".repeat(64)));
    holds(&format!("FROM scratch\nCOPY [{}] /\n", vec!["\"a\""; 50_000].join(",")));
}
