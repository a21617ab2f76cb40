//! Recipes become graphs: the same bytes for the same input, and every mistake is shown where it is.

use std::collections::BTreeMap;
use std::path::Path;

use dockless::llb::{self, pb};
use dockless::oci::{Arch, Digest};
use dockless::recipe::{Lowered, Matrix, Profile, Recipe, RecipeError, Recipes, Request, SourceLock};

const MUSL: &str = r#"
name = "musl"
summary = "C library"
license = "MIT"
script = "musl.sh"
sources = ["musl"]
"#;

const ZLIB: &str = r#"
name = "zlib"
summary = "deflate"
license = "Zlib"
script = "zlib.sh"
files = ["step.sh"]
sources = ["zlib"]
needs = ["musl"]
timeout = "10m"
[env]
A = "1"
[arch.x86.env]
A = "2"
"#;

const PYTHON: &str = r#"
name = "python"
summary = "Python"
license = "PSF-2.0"
script = "python.sh"
sources = ["cpython"]
needs = ["zlib", "musl"]
series = true
free_threaded = "3.13"
[version."3.10".env]
OLD = "yes"
[version."3.13".env]
NEW = "yes"
"#;

fn entry(name: &str, version: &str) -> String {
    let sha256 = Digest::of(format!("{name} {version}").as_bytes()).hex();
    format!(
        "[[source]]\nname = \"{name}\"\nversion = \"{version}\"\nfile = \"{name}-{version}.tar.gz\"\n\
         sha256 = \"{sha256}\"\nlicense = \"MIT\"\norigins = [\"https://example.org/{name}\"]\n"
    )
}

fn lock(set: &str, sources: &[(&str, &str)]) -> SourceLock {
    let text: String = sources.iter().map(|(name, version)| entry(name, version)).collect();
    SourceLock::parse(&text, Path::new(&format!("{set}.lock"))).expect("valid lock")
}

fn recipe(text: &str) -> Result<Recipe, RecipeError> {
    let name = text.lines().find_map(|line| line.strip_prefix("name = ")).unwrap_or("\"x\"").trim_matches('"');
    Recipe::parse(text, Path::new(&format!("recipes/{name}.toml")))
}

fn recipes() -> Recipes {
    let matrix = "versions = [\"3.11\"]\narchitectures = [\"x86_64\"]\nsupported = [\"3.11\"]\n\
                  name = \"release-{version}-{arch}\"\nepoch = 1\n";
    let all = [MUSL, ZLIB, PYTHON].map(|text| recipe(text).expect("valid recipe"));
    Recipes {
        recipes: all.into_iter().map(|recipe| (recipe.name.clone(), recipe)).collect(),
        locks: vec![
            lock("debian", &[("musl", "1.2.5"), ("zlib", "1.3.1"), ("cpython", "3.11.2"), ("cpython", "3.13.5")]),
            lock(
                "upstream",
                &[("cpython", "3.10.15"), ("cpython", "3.11.9"), ("cpython", "3.15.0rc1"), ("zlib", "1.3.2")],
            ),
        ],
        images: BTreeMap::from(
            ["bookworm-x86_64", "bookworm-x86"].map(|name| (name.to_owned(), Digest::of(name.as_bytes()))),
        ),
        bases: BTreeMap::new(),
        profiles: Vec::new(),
        matrix: Matrix::parse(matrix, Path::new("recipes/release.toml")).expect("valid matrix"),
    }
}

fn lower(recipes: &Recipes, names: &[&str], arch: Arch) -> Result<Lowered, RecipeError> {
    let requests: Result<Vec<Request>, RecipeError> = names.iter().map(|name| name.parse()).collect();
    recipes.lower(&requests?, arch, Profile::Quick, 1)
}

/// The exec of a package by the start of its vertex name.
fn exec(lowered: &Lowered, name: &str) -> pb::ExecOp {
    let vertex = lowered.graph.vertices().find(|vertex| vertex.kind() == "exec" && vertex.name().starts_with(name));
    match &vertex.expect("the package is in the graph").op {
        pb::op::Op::Exec(exec) => exec.clone(),
        _ => unreachable!("an exec"),
    }
}

#[test]
fn equal_input_gives_equal_bytes() {
    let bytes = |recipes: &Recipes| lower(recipes, &["python@3.11"], Arch::X86_64).expect("lowers").graph.to_bytes();
    assert_eq!(bytes(&recipes()), bytes(&recipes()));
}

#[test]
fn where_a_source_comes_from_is_not_part_of_the_graph() {
    let mut moved = recipes();
    for source in &mut moved.locks[0].sources {
        source.origins = vec!["https://elsewhere.example.org/".to_owned()];
    }
    let bytes = |recipes: &Recipes| lower(recipes, &["python@3.11"], Arch::X86_64).expect("lowers").graph.to_bytes();
    assert_eq!(bytes(&recipes()), bytes(&moved));
}

#[test]
fn a_step_sees_its_inputs_read_only_and_two_empty_directories() {
    let lowered = lower(&recipes(), &["zlib"], Arch::X86_64).expect("lowers");
    let exec = exec(&lowered, "zlib");
    let mounts: Vec<(&str, bool, i64)> = exec.mounts.iter().map(|m| (m.dest.as_str(), m.readonly, m.output)).collect();
    let expected = [
        ("/", true, -1),
        ("/scripts", true, -1),
        ("/sources/zlib", true, -1),
        ("/deps", true, -1),
        ("/out", false, 0),
        ("/build", false, -1),
        ("/tmp", false, -1),
    ];
    assert_eq!(mounts, expected);
    assert_eq!(exec.network(), pb::NetMode::None);
}

#[test]
fn needs_are_transitive_and_merged_once() {
    let lowered = lower(&recipes(), &["python@3.11"], Arch::X86_64).expect("lowers");
    let merges: Vec<_> = lowered.graph.vertices().filter(|vertex| vertex.kind() == "merge").collect();
    assert_eq!(merges.len(), 1);
    assert_eq!(merges[0].inputs.len(), 2);
    assert_eq!(llb::tree(&lowered.graph).lines().next().map(|line| line.contains("python 3.11.2")), Some(true));
}

#[test]
fn architectures_and_series_add_to_the_environment() {
    let env = |names: &[&str], arch, package: &str| {
        exec(&lower(&recipes(), names, arch).expect("lowers"), package).meta.expect("meta").env
    };
    assert!(env(&["zlib"], Arch::X86_64, "zlib").contains(&"A=1".to_owned()));
    assert!(env(&["zlib"], Arch::X86, "zlib").contains(&"A=2".to_owned()));
    assert!(env(&["zlib"], Arch::X86, "zlib").contains(&"DOCKLESS_TRIPLE=i386-linux-musl".to_owned()));
    assert!(env(&["python@3.10"], Arch::X86_64, "python").contains(&"OLD=yes".to_owned()));
    assert!(!env(&["python@3.11"], Arch::X86_64, "python").contains(&"OLD=yes".to_owned()));
}

#[test]
fn the_first_set_wins_and_a_newer_version_elsewhere_is_told() {
    let lowered = lower(&recipes(), &["python@3.11"], Arch::X86_64).expect("lowers");
    let choice = lowered.sources.values().find(|choice| choice.source.name == "cpython").expect("chosen");
    assert_eq!((choice.source.version.as_str(), choice.set.as_str()), ("3.11.2", "debian"));
    assert_eq!(choice.newer.as_ref().map(|(v, set)| (v.as_str(), set.as_str())), Some(("3.11.9", "upstream")));
}

#[test]
fn what_the_first_set_lacks_comes_from_the_next() {
    for (request, version) in
        [("python@3.10", "3.10.15"), ("python@3.11.9", "3.11.9"), ("python@3.15", "3.15.0rc1"), ("python", "3.13.5")]
    {
        let lowered = lower(&recipes(), &[request], Arch::X86).expect("lowers");
        assert_eq!(lowered.versions["python"], version, "{request}");
    }
}

#[test]
fn the_free_threaded_build_is_another_build_of_the_same_source() {
    let (plain, free) = ("python@3.13", "python@3.13t");
    let lower = |request| lower(&recipes(), &[request], Arch::X86).expect("lowers");
    let env = |request| exec(&lower(request), "python").meta.expect("meta").env;
    assert_eq!(lower(free).versions["python"], "3.13.5t");
    assert_eq!(lower("python@3.13.5t").graph.to_bytes(), lower(free).graph.to_bytes());
    assert_eq!(lower("python@3.15t").versions["python"], "3.15.0rc1t");
    assert!(lower(plain).sources.keys().eq(lower(free).sources.keys()), "one source for both");
    let added: Vec<String> = env(free).into_iter().filter(|variable| !env(plain).contains(variable)).collect();
    assert_eq!(added, ["DOCKLESS_FREE_THREADED=1"]);
    assert!(env(free).contains(&"NEW=yes".to_owned()), "what the series adds");
    // What does not know of it is built once for both.
    let zlib = |request| exec(&lower(request), "zlib");
    assert_eq!(zlib(plain), zlib(free));
}

#[test]
fn a_free_threaded_build_that_cannot_be_is_refused_by_name() {
    let message = |name: &str| lower(&recipes(), &[name], Arch::X86_64).expect_err("wrong").to_string();
    let first = "`python@3.11t` does not exist: free-threaded builds exist from 3.13 on";
    assert_eq!(message("python@3.11t"), first);
    assert_eq!(message("python@3.11.9t"), first);
    assert!(message("python@3.77t").contains("3.77"));
    let mut without = recipes();
    without.recipes.get_mut("python").expect("python").free_threaded = None;
    let error = lower(&without, &["python@3.13t"], Arch::X86_64).expect_err("none").to_string();
    assert_eq!(error, "`python` has no free-threaded build");
    let error = recipe("name = \"x\"\nsummary = \"\"\nlicense = \"\"\nscript = \"x.sh\"\nfree_threaded = \"3.13\"\n");
    assert_eq!(underlined(&error.expect_err("no series")), "\"3.13\"");
}

#[test]
fn wrong_requests_name_what_there_is() {
    let error = |name: &str| lower(&recipes(), &[name], Arch::X86_64).expect_err("wrong");
    assert!(matches!(error("perl"), RecipeError::UnknownRecipe { known, .. } if known == ["musl", "python", "zlib"]));
    assert!(matches!(error("zlib@1"), RecipeError::FixedVersion { .. }));
    assert!(
        matches!(error("python@3.11.77"), RecipeError::UnknownVersion { known, .. } if known == ["3.11.2 (debian)", "3.11.9 (upstream)"])
    );
    assert!(
        matches!(error("python@4"), RecipeError::UnknownVersion { known, .. } if known.contains(&"3.13.5 (debian)".to_owned()))
    );
    assert!(matches!(error("python@../x"), RecipeError::Version { .. }));
    let mut circle = recipes();
    circle.recipes.get_mut("musl").expect("musl").needs = vec!["zlib".to_owned()];
    let error = lower(&circle, &["zlib"], Arch::X86_64).expect_err("circle");
    assert_eq!(error.to_string(), "recipes need each other in a circle: zlib -> musl -> zlib");
}

/// The text that an error's picture underlines.
fn underlined(error: &RecipeError) -> String {
    let picture = error.picture().expect("a picture");
    picture.text[picture.span.clone()].to_owned()
}

#[test]
fn every_fault_of_a_recipe_is_shown_where_it_is() {
    let faults = [
        ("name = \"zlib\"", "name = \"zlib\"\nneds = []", "neds", "unknown key"),
        ("license = \"Zlib\"", "license = \"Zlib\"\ncpe = \"Zlib\"", "\"Zlib\"", "not a product"),
        ("timeout = \"10m\"", "timeout = \"soon\"", "\"soon\"", "duration"),
        ("script = \"zlib.sh\"", "script = \"../zlib.sh\"", "\"../zlib.sh\"", "inside scripts/"),
        ("[arch.x86.env]", "[arch.vax.env]", "vax", "unknown architecture"),
        ("A = \"1\"", "DOCKLESS_ARCH = \"1\"", "DOCKLESS_ARCH", "cannot be set"),
        ("needs = [\"musl\"]", "needs = [\"a/b\"]", "\"a/b\"", "plain name"),
        ("license = \"Zlib\"\n", "", "", "missing field"),
        ("sources = [\"zlib\"]", "sources = [\"zlib\"", "", ""),
    ];
    for (good, bad, shown, message) in faults {
        let text = ZLIB.replacen(good, bad, 1);
        assert_ne!(text, ZLIB);
        let error = recipe(&text).expect_err(bad);
        assert!(error.to_string().contains(message), "{bad}: {error}");
        if !shown.is_empty() {
            assert_eq!(underlined(&error), shown, "{bad}");
        }
    }
}

#[test]
fn every_fault_of_a_lock_is_shown_where_it_is() {
    let good = entry("zlib", "1");
    let sha256 = Digest::of(b"zlib 1").hex();
    for (from, to, message) in [
        (sha256.as_str(), "ABC", "is not a sha256"),
        ("https://example.org", "ftp://example.org", "no known scheme"),
        ("origins = [\"https://example.org/zlib\"]", "origins = []", "needs an origin"),
        ("file = \"zlib-1.tar.gz\"", "file = \"../../etc/passwd\"", "plain file name"),
        ("license", "licence", "unknown field"),
    ] {
        let text = good.replacen(from, to, 1);
        let error = SourceLock::parse(&text, Path::new("x.lock")).expect_err(to);
        assert!(error.to_string().contains(message), "{to}: {error}");
    }
    let twice = format!("{good}{good}");
    let error = SourceLock::parse(&twice, Path::new("x.lock")).expect_err("twice");
    assert!(error.to_string().contains("locked twice"));
}
