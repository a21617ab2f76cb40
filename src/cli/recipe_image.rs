//! The image that `dockless build -o` makes of what recipes built.

use crate::export::{Annotations, ImageOptions};
use crate::layer::{Owner, PackTimes};
use crate::oci::Arch;
use crate::recipe::{Lowered, Recipes, Request};

/// Returns an image owned by root, of one time and one layer, that says of itself what its recipe says.
pub(super) fn of_recipes(
    recipes: &Recipes,
    requests: &[Request],
    lowered: &Lowered,
    (arch, epoch): (Arch, u64),
) -> ImageOptions {
    // A time that is none is refused by the export, which has a word for it.
    let time = i64::try_from(epoch).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    let image = recipes.image(requests, lowered, &time.unwrap_or_default().to_string());
    let names: Vec<String> = requests.iter().map(|request| named(request, lowered)).collect();
    // What is known of an image is found without fetching its config, too.
    let annotated = image.labels.iter().filter(|(key, _)| key.starts_with("org.opencontainers.image."));
    let manifest = annotated.map(|(key, value)| (key.clone(), value.clone())).collect();
    ImageOptions {
        epoch,
        times: PackTimes::All(epoch),
        owner: Owner::Root,
        entrypoint: image.entrypoint,
        command: image.command,
        env: image.env.iter().map(|(name, value)| format!("{name}={value}")).collect(),
        working_directory: image.working_directory,
        labels: image.labels,
        annotations: Annotations { manifest, ..Annotations::default() },
        created_by: format!("dockless build {} --arch {arch}", names.join(" ")),
        ..ImageOptions::new(arch)
    }
}

/// Returns `python@3.11.2` or `zlib`: a version only where one can be asked for.
fn named(request: &Request, lowered: &Lowered) -> String {
    match lowered.versions.get(&request.name).filter(|_| request.version.is_some()) {
        Some(version) => format!("{}@{version}", request.name),
        None => request.name.clone(),
    }
}
