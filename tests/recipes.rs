//! What this project ships can be built: every recipe, version and architecture lowers, and names files that are there.

use std::path::Path;

use dockless::build::{Project, SETS};
use dockless::oci::Arch;
use dockless::recipe::{Profile, Request, Version};

fn project() -> Project {
    Project::open(Path::new(env!("CARGO_MANIFEST_DIR")), &SETS.map(str::to_owned)).expect("the project reads")
}

fn python(version: &str) -> Request {
    Request { name: "python".to_owned(), version: Some(version.to_owned()) }
}

#[test]
fn every_recipe_lowers_for_both_architectures() {
    let project = project();
    assert!(project.recipes.recipes.len() > 10);
    for name in project.recipes.recipes.keys() {
        for arch in Arch::ALL {
            let request = Request { name: name.clone(), version: None };
            let lowered = project.recipes.lower(&[request], arch, Profile::Quick, 0);
            lowered.unwrap_or_else(|error| panic!("{name} for {arch}: {error}"));
        }
    }
}

#[test]
fn every_known_patch_release_of_python_is_buildable_by_its_full_version() {
    let project = project();
    let known: Vec<String> = project
        .recipes
        .locks
        .iter()
        .flat_map(|lock| lock.named("cpython").into_iter().map(|source| source.version.to_string()))
        .collect();
    assert!(known.len() > 70, "{known:?}");
    for version in known {
        let lowered = project.recipes.lower(&[python(&version)], Arch::X86_64, Profile::Quick, 0);
        let lowered = lowered.unwrap_or_else(|error| panic!("python@{version}: {error}"));
        assert_eq!(lowered.versions["python"], version);
        assert_eq!(lowered.versions["cpython"], version, "one version means one thing in one graph");
    }
}

#[test]
fn every_supported_series_has_a_release_or_candidate() {
    let project = project();
    for series in &project.recipes.matrix.supported {
        let lowered = project.recipes.lower(&[python(series)], Arch::X86, Profile::Quick, 0).expect("lowers");
        let (number, free_threaded) = Version::free_threaded(series);
        let version = &lowered.versions["python"];
        assert!(
            version.starts_with(&format!("{number}.")) && version.ends_with('t') == free_threaded,
            "{series}: {version}"
        );
    }
}

#[test]
fn recipes_name_scripts_that_are_there() {
    let project = project();
    for recipe in project.recipes.recipes.values() {
        for file in recipe.files.iter().chain([&recipe.script]) {
            assert!(project.root.join("scripts").join(file).exists(), "{}: scripts/{file}", recipe.name);
        }
    }
}

#[test]
fn every_script_that_builds_somebody_elses_work_keeps_its_licence() {
    let project = project();
    let lowered = project.recipes.lower(&[python("3.11")], Arch::X86, Profile::Quick, 0).expect("lowers");
    let kept: Vec<&str> = lowered.versions.keys().map(String::as_str).filter(|name| *name != "python").collect();
    assert!(kept.len() > 10, "{kept:?}");
    for name in kept {
        let script = project.root.join("scripts").join(&project.recipes.recipes[name].script);
        let text = std::fs::read_to_string(&script).expect("a script reads");
        assert!(
            text.lines().any(|line| line.trim_start().starts_with("licence ")),
            "{}: no licence is kept",
            script.display()
        );
    }
}

#[test]
fn the_graph_of_a_release_is_the_same_bytes_in_every_process() {
    let bytes = || {
        let graph = project().recipes.lower(&[python("3.11")], Arch::X86_64, Profile::Quick, 0).expect("lowers").graph;
        graph.to_bytes()
    };
    assert_eq!(bytes(), bytes());
}
