//! `dockless test --roots` and `--packages`: their options, what of the machine they use, and their tables.

use std::path::{Path, PathBuf};

use super::args;
use super::command::println;
use super::failure::Failure;
use super::progress::{View, clean};
use super::session::{Inside, Session, stop, variable};
use super::table::{Align, Table};
use crate::release::{self, Machine, Supplies, Trial, Trials, Verdict};
use crate::sandbox::Launcher;
use crate::source::Origins;

/// Tables that `test` makes when asked.
#[derive(Debug, clap::Args)]
pub(crate) struct TrialArgs {
    /// Starts them in other root filesystems instead, or in those named: empty, busybox, Debian's, and such as RHEL's,
    /// SUSE's and Alpine's; wants the project, a Debian mirror, and apt for forky and sid
    #[arg(long, value_name = "ROOT", num_args = 0.., require_equals = true, value_delimiter = ',')]
    roots: Option<Vec<String>>,
    /// Installs wheels of well-known packages by pip and by uv instead, or of those named, and uses them; wants an index
    /// as pip is configured with
    #[arg(long, value_name = "PACKAGE", num_args = 0.., require_equals = true, value_delimiter = ',')]
    packages: Option<Vec<String>>,
}

impl TrialArgs {
    /// Tells whether a table is asked for.
    pub(super) const fn is_asked(&self) -> bool {
        self.roots.is_some() || self.packages.is_some()
    }
}

/// Variables that say how pip and uv reach an index.
const VARIABLES: [&str; 30] = [
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "PIP_FIND_LINKS",
    "PIP_NO_INDEX",
    "PIP_TRUSTED_HOST",
    "PIP_CERT",
    "PIP_CLIENT_CERT",
    "PIP_PROXY",
    "PIP_DEFAULT_TIMEOUT",
    "PIP_RETRIES",
    "PIP_CONFIG_FILE",
    "UV_INDEX",
    "UV_DEFAULT_INDEX",
    "UV_FIND_LINKS",
    "UV_NO_INDEX",
    "UV_INSECURE_HOST",
    "UV_HTTP_TIMEOUT",
    "UV_NATIVE_TLS",
    "UV_SYSTEM_CERTS",
    "UV_CONFIG_FILE",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "ALL_PROXY",
    "NO_PROXY",
    "no_proxy",
];

/// Of these, those whose value is a file or a directory that must be there for it to mean anything.
const PATHS: [&str; 8] = [
    "PIP_FIND_LINKS",
    "PIP_CERT",
    "PIP_CLIENT_CERT",
    "PIP_CONFIG_FILE",
    "UV_CONFIG_FILE",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
];

/// Where machines keep certificates and the configuration of pip and uv for everybody.
const SHARED: [&str; 9] = [
    "/etc/hosts",
    "/etc/pip.conf",
    "/etc/pki",
    "/etc/ssl",
    "/etc/uv",
    "/etc/xdg/pip",
    "/usr/local/share/ca-certificates",
    "/usr/share/ca-certificates",
    "/var/lib/ca-certificates",
];

/// Makes the tables that are asked for; tells whether all passed.
pub(super) fn try_all(
    session: &Session<'_>,
    args: &args::Test,
    (inside, launcher): (&Inside, &Launcher),
    view: &View,
) -> Result<bool, Failure> {
    let mut passed = true;
    let mut show = |path: &Path, trials: &Trials| {
        passed &= trials.passed();
        view.suspend(|| println(&render(path, trials)))
    };
    if let Some(names) = &args.trials.roots {
        let lists = session.project_root()?.join("rootfs");
        if !lists.join("roots").is_dir() {
            let message = "--roots needs the project: there is no rootfs/roots here (--project DIR)".to_owned();
            return Err(Failure::Usage { message });
        }
        let store = session.store()?;
        let origins = Origins { stop: stop(&inside.cancel), ..session.origins()? };
        let supplies = Supplies { lists: &lists, store: &store, origins: &origins, jobs: session.jobs() };
        for path in &args.tarballs {
            show(path, &release::roots(path, names, &supplies, (launcher, &inside.cancel), view)?)?;
        }
    }
    if let Some(names) = &args.trials.packages {
        let machine = machine(session.global.offline);
        for path in &args.tarballs {
            show(path, &release::packages(path, names, &machine, (launcher, &inside.cancel), view)?)?;
        }
    }
    Ok(passed)
}

/// Returns what of this machine reaches an index.
fn machine(offline: bool) -> Machine {
    let variables: Vec<(&str, String)> =
        VARIABLES.into_iter().filter_map(|name| variable(name).map(|value| (name, value))).collect();
    let named = variables.iter().filter(|(name, _)| PATHS.contains(name)).flat_map(|(_, value)| value.split(' '));
    let same = SHARED.iter().copied().chain(named).map(|path| (PathBuf::from(path), PathBuf::from(path)));
    let home = variable("HOME").map(PathBuf::from);
    let configured = variable("XDG_CONFIG_HOME").map(PathBuf::from).or_else(|| Some(home.as_ref()?.join(".config")));
    let own =
        configured.iter().flat_map(|config| ["pip", "uv"].map(|name| (config.join(name), format!(".config/{name}"))));
    let own = own.chain(home.iter().map(|home| (home.join(".pip"), ".pip".to_owned())));
    let own = own.map(|(source, place)| (source, Path::new("/home").join(place)));
    let mut files: Vec<(PathBuf, PathBuf)> =
        same.chain(own).filter(|(source, _)| source.is_absolute() && source.exists()).collect();
    files.sort_by(|one, other| one.1.cmp(&other.1));
    files.dedup_by(|one, other| one.1 == other.1);
    let variables = variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
    Machine { variables, files, offline }
}

/// Returns a table with a row a subject and a column an aspect, and below it what cells are too small for.
fn render(tarball: &Path, trials: &Trials) -> String {
    let mut subjects: Vec<&str> = Vec::new();
    let mut aspects: Vec<&str> = Vec::new();
    for Trial { subject, aspect, .. } in &trials.trials {
        if !subjects.contains(&subject.as_str()) {
            subjects.push(subject);
        }
        if !aspects.contains(&aspect.as_str()) {
            aspects.push(aspect);
        }
    }
    let mut columns = vec![(trials.of, Align::Left)];
    columns.extend(aspects.iter().map(|aspect| (*aspect, Align::Left)));
    let mut table = Table::new(&columns);
    for subject in &subjects {
        let cell = |aspect: &&str| {
            let found = trials.trials.iter().find(|trial| trial.subject == *subject && trial.aspect == **aspect);
            found.map_or("", |trial| word(trial.verdict))
        };
        table.row([*subject].into_iter().chain(aspects.iter().map(cell)));
    }
    let head = format!("{} (Python {}, {}, {})\n", tarball.display(), trials.version, trials.arch, trials.digest);
    let count = |verdict| trials.count(verdict);
    let seconds = trials.elapsed.as_secs();
    let tail = format!(
        "{} worked, {} failed, {} without a wheel, {} skipped, in {}:{:02}",
        count(Verdict::Works),
        count(Verdict::Failed),
        count(Verdict::Absent),
        count(Verdict::Skipped),
        seconds / 60,
        seconds % 60
    );
    format!("{head}{}{}{tail}", table.render(None), notes(trials))
}

const fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Works => "ok",
        Verdict::Absent => "no wheel",
        Verdict::Failed => "FAILED",
        Verdict::Skipped => "skipped",
    }
}

/// Details: what is told once is told once, of all columns that say it.
fn notes(trials: &Trials) -> String {
    let mut lines: Vec<(&str, Verdict, &str, Vec<&str>)> = Vec::new();
    for Trial { subject, aspect, verdict, detail } in trials.trials.iter().filter(|trial| !trial.detail.is_empty()) {
        match lines.iter_mut().find(|(of, as_, told, _)| of == subject && as_ == verdict && told == detail) {
            Some((.., aspects)) => aspects.push(aspect),
            None => lines.push((subject, *verdict, detail, vec![aspect])),
        }
    }
    let line = |(subject, verdict, detail, aspects): &(&str, Verdict, &str, Vec<&str>)| {
        format!("  {subject}, {}: {}: {}\n", aspects.join(", "), word(*verdict), clean(detail.as_bytes()))
    };
    lines.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::oci::{Arch, Digest};

    #[test]
    fn a_table_has_a_cell_a_trial_and_tells_the_rest_below() {
        let trial = |subject: &str, aspect: &str, verdict, detail: &str| Trial {
            subject: subject.to_owned(),
            aspect: aspect.to_owned(),
            verdict,
            detail: detail.to_owned(),
        };
        let trials = Trials {
            of: "packages",
            digest: Digest::of(b""),
            version: "3.11.2".to_owned(),
            arch: Arch::X86,
            trials: vec![
                trial("numpy", "pip", Verdict::Absent, "ERROR: No matching distribution"),
                trial("numpy", "uv", Verdict::Failed, "exit 1"),
                trial("regex", "pip", Verdict::Works, "2026.1"),
                trial("regex", "uv", Verdict::Works, "2026.1"),
            ],
            elapsed: Duration::from_secs(125),
        };
        let text = render(Path::new("a.tar.gz"), &trials);
        let lines: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(
            lines,
            [
                "packages  pip       uv",
                "numpy     no wheel  FAILED",
                "regex     ok        ok",
                "  numpy, pip: no wheel: ERROR: No matching distribution",
                "  numpy, uv: FAILED: exit 1",
                "  regex, pip, uv: ok: 2026.1",
                "2 worked, 1 failed, 1 without a wheel, 0 skipped, in 2:05",
            ]
        );
    }
}
