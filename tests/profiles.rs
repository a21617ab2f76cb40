//! Trained profiles: which one a build takes, and that what lies in `recipes/profiles/` is what it says it is.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use dockless::build::{Project, SETS};
use dockless::llb::pb;
use dockless::oci::{Arch, Digest};
use dockless::recipe::{Lowered, Profile, RecipeError, Recipes, Request, TrainedProfile};
use dockless::training::{Counts, Difference, TrainingError, functions};

fn project() -> Project {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    Project::open(root, &SETS.map(str::to_owned)).expect("the project is sound")
}

fn text(version: &str, arch: &str, source: &str) -> String {
    format!(
        "package = \"cpython\"\nversion = \"{version}\"\narch = \"{arch}\"\nsource = \"{source}\"\n\
         archive = \"cpython-{version}-{arch}.tar.xz\"\nsha256 = \"{}\"\nsize = 1\ncompiler = \"12.2.0\"\nlevel = \"-O3\"\n\
         objects = 1\nfunctions = 1\nexecuted = 1\n",
        Digest::of(version.as_bytes()).hex()
    )
}

fn parse(text: &str, name: &str) -> Result<TrainedProfile, RecipeError> {
    TrainedProfile::parse(text, Path::new(&format!("recipes/profiles/{name}.toml")))
}

fn trained(version: &str, arch: &str) -> TrainedProfile {
    let other = Digest::of(b"another tarball").hex();
    parse(&text(version, arch, &other), &format!("cpython-{version}-{arch}")).expect("a profile")
}

fn with(profiles: Vec<TrainedProfile>) -> Recipes {
    Recipes { profiles, ..project().recipes }
}

fn lower(recipes: &Recipes, name: &str, profile: Profile) -> Result<Lowered, RecipeError> {
    let request: Request = name.parse().expect("a request");
    recipes.lower(&[request], Arch::X86_64, profile, 1)
}

fn exec(lowered: &Lowered, name: &str) -> pb::ExecOp {
    let vertex = lowered.graph.vertices().find(|vertex| vertex.kind() == "exec" && vertex.name().starts_with(name));
    match &vertex.expect("the package is in the graph").op {
        pb::op::Op::Exec(exec) => exec.clone(),
        _ => unreachable!("an exec"),
    }
}

/// The source that `cpython@<version>` is built of.
fn digest(version: &str) -> String {
    let locks = project().recipes.locks;
    let source = locks.iter().flat_map(|lock| lock.named("cpython")).find(|source| source.version.as_str() == version);
    source.expect("locked").digest.hex()
}

#[test]
fn the_profile_of_the_very_source_wins() {
    let mut exact = trained("3.11.2", "x86_64");
    exact.source = digest("3.11.2");
    let recipes = with(vec![trained("3.11.3", "x86_64"), exact.clone(), trained("3.11.1", "x86_64")]);
    let lowered = lower(&recipes, "cpython@3.11.2", Profile::Release).expect("lowers");
    let chosen = &lowered.trained["cpython"];
    assert!(chosen.exact);
    assert_eq!(chosen.profile, exact);
    let step = exec(&lowered, "cpython ");
    let env = step.meta.expect("a process").env;
    for wanted in [
        "DOCKLESS_PROFILE=release".to_owned(),
        format!("DOCKLESS_TRAINED={}", exact.archive),
        format!("DOCKLESS_TRAINED_SHA256={}", exact.sha256),
    ] {
        assert!(env.contains(&wanted), "{wanted} is not in {env:?}");
    }
    assert!(step.mounts.iter().any(|mount| mount.dest == "/sources/profile" && mount.readonly));
}

#[test]
fn without_it_the_nearest_release_of_the_series_is_taken_and_known_as_such() {
    for (there, taken) in [
        (&["3.11.9", "3.11.1", "3.12.2", "3.13.2"][..], "3.11.1"),
        (&["3.11.1", "3.11.3"], "3.11.3"),
        (&["3.11.14"], "3.11.14"),
    ] {
        let recipes = with(there.iter().map(|version| trained(version, "x86_64")).collect());
        let chosen = &lower(&recipes, "python@3.11.2", Profile::Release).expect("lowers").trained["cpython"];
        assert_eq!((chosen.profile.version.as_str(), chosen.exact), (taken, false), "of {there:?}");
    }
}

#[test]
fn without_any_the_build_is_refused_with_the_ways_out() {
    // Another series, another architecture, the free-threaded build: none of them fits.
    let recipes = with(vec![trained("3.12.6", "x86_64"), trained("3.11.2", "x86"), trained("3.11.2t", "x86_64")]);
    let error = lower(&recipes, "python@3.11.2", Profile::Release).expect_err("nothing fits");
    let help = error.help().expect("a way out");
    assert!(error.to_string().contains("cpython 3.11.2 for x86_64"), "{error}");
    for way in ["dockless profile train cpython@3.11.2 --arch x86_64", "--profile quick", "cpython-3.11.2-x86,"] {
        assert!(help.contains(way), "`{way}` is not in: {help}");
    }
    lower(&recipes, "python@3.11.2", Profile::Quick).expect("quick needs none");
    lower(&recipes, "python@3.11.2", Profile::Train).expect("training needs none");
}

#[test]
fn a_profile_of_the_free_threaded_build_is_for_that_build() {
    let recipes = with(vec![trained("3.13.5", "x86_64"), trained("3.13.5t", "x86_64")]);
    for (name, taken) in [("python@3.13", "3.13.5"), ("python@3.13t", "3.13.5t")] {
        let chosen = &lower(&recipes, name, Profile::Release).expect("lowers").trained["cpython"];
        assert_eq!(chosen.profile.version, taken);
    }
}

#[test]
fn only_what_can_be_trained_is_another_step_in_another_profile() {
    let recipes = with(vec![trained("3.11.2", "x86_64")]);
    let steps = |profile| {
        let lowered = lower(&recipes, "python@3.11.2", profile).expect("lowers");
        ["musl ", "zlib ", "openssl ", "cpython "].map(|name| exec(&lowered, name).meta)
    };
    let (quick, release) = (steps(Profile::Quick), steps(Profile::Release));
    assert_eq!(quick[..3], release[..3]);
    assert_ne!(quick[3], release[3]);
}

#[test]
fn a_wrong_description_is_shown_where_it_is_wrong() {
    let good = text("3.11.2", "x86_64", &"0".repeat(64));
    let name = "cpython-3.11.2-x86_64";
    parse(&good, name).expect("right");
    for (wrong, name, said) in [
        (good.replace("x86_64\"\nsource", "mips\"\nsource"), name, "mips"),
        (good.replace(&"0".repeat(64), "12"), name, "is not a sha256"),
        (good.replace("archive = \"", "archive = \"../"), name, "is not a plain file name"),
        (good.clone(), "cpython-3.11.3-x86_64", "lives in a file called `cpython-3.11.2-x86_64.toml`"),
        (format!("{good}more = 1\n"), name, "unknown field"),
        (good.replace("size = 1\n", ""), name, "missing field `size`"),
    ] {
        let error = parse(&wrong, name).expect_err(said);
        assert!(error.to_string().contains(said), "{error}");
        assert!(error.picture().is_some());
    }
    let read = parse(&good, name).expect("right");
    assert_eq!(parse(&read.to_toml(), name).expect("what is written can be read"), read);
}

#[test]
fn pinned_archives_are_what_their_descriptions_say() {
    let project = project();
    for profile in &project.recipes.profiles {
        let path = project.root.join("recipes/profiles").join(&profile.archive);
        let archive = fs::read(&path).expect("the archive lies beside its description");
        assert_eq!(Digest::of(&archive).hex(), profile.sha256, "{}", profile.archive);
        assert_eq!(archive.len() as u64, profile.size, "{}", profile.archive);
        let counts = Counts::read(&archive[..]).expect("an archive of counts");
        let totals = counts.totals();
        assert_eq!(
            (counts.compiler.as_str(), counts.level.as_str(), totals.objects, totals.functions, totals.executed),
            (profile.compiler.as_str(), profile.level.as_str(), profile.objects, profile.functions, profile.executed),
            "{}",
            profile.archive
        );
        // A load that did not run would be a profile, too.
        assert!(totals.executed > 3000, "{}: {totals:?}", profile.archive);
        assert!(counts.objects.contains_key("Python/ceval"), "{}", profile.archive);
    }
    let named = fs::read_dir(project.root.join("recipes/profiles")).expect("is there");
    assert_eq!(named.count(), 2 * project.recipes.profiles.len(), "a file too many in recipes/profiles/");
}

/// A .gcda file of functions with number, shape and counters.
fn gcda(functions: &[(u32, u32, &[u64])]) -> Vec<u8> {
    let mut words: Vec<u32> =
        vec![u32::from_be_bytes(*b"gcda"), u32::from_be_bytes(*b"B22*"), 7, 8, 0xa100_0000, 8, 1, 9];
    for (ident, shape, counts) in functions {
        words.extend([0x0100_0000, 12, *ident, 5, *shape, 0x01a1_0000]);
        let bytes = i32::try_from(counts.len() * 8).expect("few");
        if counts.iter().all(|count| *count == 0) {
            words.push((-bytes).cast_unsigned());
        } else {
            words.push(bytes.cast_unsigned());
            let half = |bits: u64| u32::try_from(bits & u64::from(u32::MAX)).expect("32 bits");
            words.extend(counts.iter().flat_map(|count| [half(*count), half(*count >> 32)]));
        }
    }
    words.push(0);
    words.into_iter().flat_map(u32::to_le_bytes).collect()
}

fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
    let xz = liblzma::write::XzEncoder::new(Vec::new(), 0);
    let mut tar = tar::Builder::new(xz);
    for (name, bytes) in members {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, *bytes).expect("fits");
    }
    tar.into_inner().and_then(liblzma::write::XzEncoder::finish).expect("compresses")
}

#[test]
fn counts_are_read_as_the_compiler_wrote_them() {
    let file = gcda(&[(1, 11, &[5, 1 << 40]), (2, 22, &[0, 0, 0]), (3, 33, &[u64::MAX, 9])]);
    let read = functions(&file).expect("counters");
    let found: Vec<_> = read.iter().map(|f| (f.ident, f.shape, f.count)).collect();
    assert_eq!(found, [(1, 11, 5 + (1 << 40)), (2, 22, 0), (3, 33, u64::MAX)]);
    // Cut anywhere: an answer, never a panic.
    for end in 0..file.len() {
        let _ = functions(&file[..end]);
    }
    assert!(functions(&file[..file.len() - 12]).is_err());
    assert!(functions(b"ELF").is_err());
    let old = [&file[..4], &u32::from_be_bytes(*b"A93*").to_le_bytes(), &file[8..]].concat();
    assert_eq!(functions(&old), Err("was written by a gcc older than 12"));
}

#[test]
fn a_bad_archive_is_refused() {
    let file = gcda(&[(1, 11, &[5])]);
    let good = archive(&[("compiler", b"12.2.0\n"), ("./Objects/x.gcda", &file)]);
    let counts = Counts::read(&good[..]).expect("sound");
    assert_eq!(counts.objects.keys().collect::<Vec<_>>(), ["Objects/x"]);
    assert_eq!(counts.compiler, "12.2.0");
    for (members, said) in [
        (vec![("compiler", &b"12.2.0"[..])], "no .gcda file"),
        (vec![("x.gcda", &file[..])], "`compiler` in the archive of counts is missing"),
        (vec![("compiler", &b"rm -rf"[..]), ("x.gcda", &file[..])], "is not the release of a compiler"),
        (vec![("compiler", &b"12.2.0"[..]), ("x.c", &b"int"[..])], "`x.c` in the archive of counts does not belong"),
        (vec![("compiler", &b"12.2.0"[..]), ("x.gcda", &b"gcda"[..])], "`x.gcda` in the archive"),
    ] {
        let error = Counts::read(&archive(&members)[..]).expect_err(said);
        assert!(error.to_string().contains(said), "{error}");
    }
    for end in (0..good.len()).step_by(7) {
        Counts::read(&good[..end]).expect_err("cut");
    }
    let mut endless = liblzma::write::XzEncoder::new(Vec::new(), 0);
    for _ in 0..65 {
        endless.write_all(&vec![0; 1 << 20]).expect("compresses");
    }
    let endless = endless.finish().expect("compresses");
    assert!(matches!(Counts::read(&endless[..]), Err(TrainingError::TooLarge { .. })));
}

#[test]
fn a_comparison_tells_new_gone_reshaped_and_moved_functions() {
    let read = |objects: &[(&str, Vec<u8>)], level: &[u8]| {
        let mut members: Vec<(&str, &[u8])> = vec![("compiler", b"12.2.0"), ("level", level)];
        members.extend(objects.iter().map(|(name, bytes)| (*name, &bytes[..])));
        Counts::read(&archive(&members)[..]).expect("sound")
    };
    let old = read(
        &[
            ("a.gcda", gcda(&[(1, 1, &[100]), (2, 1, &[100]), (3, 1, &[100]), (4, 1, &[0]), (5, 1, &[700])])),
            ("gone.gcda", gcda(&[(1, 1, &[0])])),
        ],
        b"-O2",
    );
    let new = read(
        &[
            ("a.gcda", gcda(&[(1, 1, &[110]), (2, 9, &[100]), (4, 1, &[1]), (5, 1, &[100]), (6, 1, &[1])])),
            ("new.gcda", gcda(&[(1, 1, &[700])])),
        ],
        b"-O3",
    );
    let found = Difference::between(&old, &new);
    assert_eq!((found.alike, found.functions_new, found.functions_gone), (1, 2, 2));
    assert_eq!((found.reshaped, found.awakened, found.moved), (1, 1, 1));
    assert_eq!((found.objects_new, found.objects_gone), (vec!["new".to_owned()], vec!["gone".to_owned()]));
    assert_eq!(found.levels, Some(["-O2".to_owned(), "-O3".to_owned()]));
    let same = Difference::between(&old, &old);
    assert_eq!(same.levels, None);
    assert_eq!((same.alike, same.moved + same.awakened + same.reshaped), (6, 0));
    assert!(same.shifts.iter().all(|shift| shift.old.to_bits() == shift.new.to_bits()));
}
