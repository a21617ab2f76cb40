//! The container around us, by the marks that engines leave, because each is told differently what it should allow.

use std::path::Path;

/// Whose container this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Container {
    /// A pod of Kubernetes.
    Kubernetes,
    /// A job of a GitLab runner.
    GitLab,
    /// Docker's.
    Docker,
    /// Podman's, or of something else that its files mark.
    Podman,
}

/// Looks for marks below `root` and in the environment.
pub(super) fn around(root: &Path, variable: &dyn Fn(&str) -> Option<String>) -> Option<Container> {
    let there = |path: &str| root.join(path).exists();
    if variable("KUBERNETES_SERVICE_HOST").is_some() || there("var/run/secrets/kubernetes.io") {
        Some(Container::Kubernetes)
    } else if variable("GITLAB_CI").is_some() && there(".dockerenv") {
        Some(Container::GitLab)
    } else if there(".dockerenv") {
        Some(Container::Docker)
    } else if there("run/.containerenv") {
        Some(Container::Podman)
    } else {
        None
    }
}

/// How whoever starts the container lets a build in it have namespaces and its own `/proc`.
pub(super) fn allow(container: Option<Container>) -> Vec<String> {
    let docker = "docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined \
                  --security-opt systempaths=unconfined …";
    let podman = "podman run --security-opt seccomp=unconfined --security-opt apparmor=unconfined \
                  --security-opt unmask=ALL …";
    let gitlab = "in the runner's config.toml: [runners.docker] security_opt = \
                  [\"seccomp=unconfined\", \"apparmor=unconfined\", \"systempaths=unconfined\"]";
    let pod = "in the pod: securityContext: {seccompProfile: {type: Unconfined}, appArmorProfile: {type: Unconfined}}";
    let proc =
        "and for /proc, in the pod: hostUsers: false, and in the container: securityContext: {procMount: Unmasked}";
    let lines: &[&str] = match container {
        Some(Container::Kubernetes) => &[pod, proc],
        Some(Container::GitLab) => &[gitlab],
        Some(Container::Docker) => &[docker],
        Some(Container::Podman) => &[podman],
        None => &[docker, pod, proc],
    };
    lines.iter().map(|line| (*line).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn each_engine_is_known_by_its_mark_and_told_in_its_words() {
        let nothing = |_: &str| None;
        let set = |wanted: &'static str| move |name: &str| (name == wanted).then(|| "1".to_owned());
        let root = tempfile::tempdir().expect("a directory");
        assert_eq!(around(root.path(), &nothing), None);
        assert_eq!(around(root.path(), &set("KUBERNETES_SERVICE_HOST")), Some(Container::Kubernetes));
        // On the machine itself a job of GitLab is in no container.
        assert_eq!(around(root.path(), &set("GITLAB_CI")), None);
        fs::create_dir(root.path().join("run")).expect("made");
        fs::write(root.path().join("run/.containerenv"), "").expect("written");
        assert_eq!(around(root.path(), &nothing), Some(Container::Podman));
        fs::write(root.path().join(".dockerenv"), "").expect("written");
        assert_eq!(around(root.path(), &nothing), Some(Container::Docker));
        assert_eq!(around(root.path(), &set("GITLAB_CI")), Some(Container::GitLab));
        assert!(allow(Some(Container::Kubernetes))[0].contains("securityContext"));
        assert!(allow(Some(Container::Docker))[0].starts_with("docker run --security-opt seccomp=unconfined"));
        assert_eq!(allow(None).len(), 3);
    }
}
