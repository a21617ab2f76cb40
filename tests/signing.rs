//! `dockless sign` and signatures in `dockless verify`: real keys of a real gpg, made for each test.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::releasing_stages::packages;
use crate::support::release::{STEM, TARBALL, forge, release};
use crate::support::skip;
use crate::verifying::text;

const PASSPHRASE: &str = "correct horse battery";

/// A keyring.
struct Keys {
    home: TempDir,
}

impl Keys {
    /// Makes one; `None` where there is no gpg.
    fn new() -> Option<Self> {
        if Command::new("gpg").arg("--version").stdout(Stdio::null()).status().is_err() {
            skip("gpg", "gpg is not on this machine");
            return None;
        }
        // Sockets have short names.
        Some(Self { home: tempfile::Builder::new().prefix("k").tempdir_in("/tmp").expect("a place") })
    }

    fn gpg(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = Command::new("gpg");
        command.args(["--batch", "--homedir"]).arg(self.home.path()).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("gpg runs");
        child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("written");
        child.wait_with_output().expect("gpg ends")
    }

    /// Makes a key and returns its fingerprint. `more` are options that come before.
    fn make(&self, user: &str, expiry: &str, more: &[&str]) -> String {
        let options = ["--pinentry-mode", "loopback", "--passphrase-fd", "0", "--quick-generate-key", user, "ed25519"];
        let made = self.gpg(&[more, &options, &["sign", expiry]].concat(), PASSPHRASE);
        assert!(made.status.success(), "{}", text(&made.stderr));
        let listed = text(&self.gpg(&["--with-colons", "--list-secret-keys", user], "").stdout);
        let line = listed.lines().find(|line| line.starts_with("fpr:")).expect("a fingerprint");
        line.split(':').nth(9).expect("a fingerprint").to_owned()
    }

    fn public(&self, id: &str, path: &Path) {
        fs::write(path, self.gpg(&["--armor", "--export", id], "").stdout).expect("written");
    }

    fn secret(&self, id: &str) -> String {
        let options = ["--pinentry-mode", "loopback", "--passphrase-fd", "0", "--armor", "--export-secret-keys", id];
        text(&self.gpg(&options, PASSPHRASE).stdout)
    }

    /// Ends its agent, which remembers passphrases.
    fn forget(&self) {
        let mut command = Command::new("gpgconf");
        let _ = command.arg("--homedir").arg(self.home.path()).args(["--kill", "gpg-agent"]).status();
    }

    /// Runs a command of ours with this keyring.
    fn dockless(&self, here: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dockless"));
        command.args(arguments).env_clear().env("PATH", "/usr/bin:/bin").env("HOME", here).current_dir(here);
        command.env("GNUPGHOME", self.home.path()).envs(variables.iter().copied());
        command.output().expect("the binary runs")
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.forget();
    }
}

fn refused(run: &Output, code: i32, words: &str) {
    let said = text(&run.stdout) + &text(&run.stderr);
    assert_eq!(run.status.code(), Some(code), "{said}");
    assert!(said.contains(words), "`{words}` in {said}");
}

fn signatures(place: &Path) -> Vec<String> {
    let names =
        fs::read_dir(place).expect("a directory").flatten().map(|it| it.file_name().into_string().expect("text"));
    let mut names: Vec<String> = names.filter(|name| name.contains("asc") || name.starts_with('.')).collect();
    names.sort();
    names
}

#[test]
fn a_release_is_signed_whole_and_verified_by_a_file_of_keys_by_a_fingerprint_or_by_trust() {
    let Some(keys) = Keys::new() else { return };
    let (place, there) = (release(), tempfile::tempdir().expect("a place"));
    let (fingerprint, stranger) =
        (keys.make("Release <r@example.org>", "1y", &[]), keys.make("Other <o@example.org>", "1y", &[]));
    let pass = [("DOCKLESS_GPG_PASSPHRASE", PASSPHRASE)];
    let run = keys.dockless(place.path(), &["sign", ".", "--key", &fingerprint], &pass);
    assert!(run.status.success(), "{}", text(&run.stderr));
    assert_eq!(signatures(place.path()), ["SHA256SUMS.asc".to_owned(), format!("{TARBALL}.asc")]);
    let (public, other) = (there.path().join("key.asc"), there.path().join("other.asc"));
    keys.public(&fingerprint, &public);
    keys.public(&stranger, &other);
    let (public, other) = (public.to_str().expect("text"), other.to_str().expect("text"));
    let verify = |more: &[&str]| keys.dockless(place.path(), &[&["verify", "."], more].concat(), &[]);
    for whom in [
        vec!["--key", public],
        vec!["--key", other, "--key", public],
        vec![&*format!("--keyring={fingerprint}")],
        vec!["--keyring"],
    ] {
        let run = verify(&[&whom, &["--require-signature"][..]].concat());
        refused(&run, 0, &format!("by {fingerprint} Release <r@example.org>"));
    }
    refused(&verify(&["--key", other]), 1, "which is not among those that are believed");
    refused(&verify(&[&format!("--keyring={stranger}")]), 1, "which is not among those that are believed");
    refused(&verify(&[]), 0, "nobody said whom to believe");
    // A key that is only in the keyring is nobody's friend.
    let empty = Keys::new().expect("gpg was there");
    empty.gpg(&["--import", public], "");
    refused(&empty.dockless(place.path(), &["verify", ".", "--keyring"], &[]), 1, "not one that you trust");
    let run = keys.dockless(place.path(), &["sign", ".", "--key", &fingerprint], &pass);
    refused(&run, 2, "is there already");
    let run = keys.dockless(place.path(), &["sign", ".", "--key", &fingerprint, "--replace"], &pass);
    assert!(run.status.success(), "{}", text(&run.stderr));
}

#[test]
fn a_signature_of_other_bytes_fails_and_a_missing_one_only_where_it_is_required() {
    let Some(keys) = Keys::new() else { return };
    let (place, there) = (release(), tempfile::tempdir().expect("a place"));
    let fingerprint = keys.make("Release <r@example.org>", "1y", &[]);
    let public = there.path().join("key.asc");
    keys.public(&fingerprint, &public);
    let public = public.to_str().expect("text");
    let verify = |more: &[&str]| keys.dockless(place.path(), &[&["verify", ".", "--key", public], more].concat(), &[]);
    refused(&verify(&[]), 0, "not signed");
    refused(&verify(&["--require-signature"]), 1, "not signed");
    let pass = [("DOCKLESS_GPG_PASSPHRASE", PASSPHRASE)];
    assert!(keys.dockless(place.path(), &["sign", ".", "--key", &fingerprint], &pass).status.success());
    refused(&verify(&["--require-signature"]), 0, "it holds");
    // Somebody changes a document and seals the sums again, but has no key.
    forge(&place, &format!("{STEM}.cdx.json"), |it| it["version"] = 2.into());
    refused(&verify(&[]), 1, "the signature is of other bytes");
    let asc = place.path().join("SHA256SUMS.asc");
    fs::copy(place.path().join(format!("{TARBALL}.asc")), &asc).expect("copied");
    refused(&verify(&[]), 1, "the signature is of other bytes");
    fs::write(&asc, "-----BEGIN PGP SIGNATURE-----\n\nnonsense\n-----END PGP SIGNATURE-----\n").expect("written");
    refused(&verify(&[]), 1, "no signature that can be understood");
    fs::remove_file(&asc).expect("removed");
    refused(&verify(&["--require-signature"]), 1, "not signed");
    // A signed message is no detached signature, whatever it holds.
    let message = keys.gpg(&["--clearsign", "--local-user", &fingerprint], "a message").stdout;
    fs::write(&asc, message).expect("written");
    refused(&verify(&[]), 1, "FAILED");
}

#[test]
fn keys_that_cannot_sign_are_refused_early_and_nothing_is_written() {
    let Some(keys) = Keys::new() else { return };
    let place = release();
    let good = keys.make("Good <g@example.org>", "1y", &[]);
    let old = keys.make("Old <e@example.org>", "1d", &["--faked-system-time", "20200101T000000"]);
    let pass = ("DOCKLESS_GPG_PASSPHRASE", PASSPHRASE);
    let sign = |arguments: &[&str], variables: &[(&str, &str)]| {
        keys.forget();
        let run = keys.dockless(place.path(), &[&["sign", "."], arguments].concat(), variables);
        assert_eq!(signatures(place.path()), [""; 0], "{}", text(&run.stderr));
        run
    };
    refused(&sign(&[], &[]), 2, "which key?");
    refused(&sign(&["--key", "nobody@example.org"], &[pass]), 2, "there is no secret key `nobody@example.org`");
    refused(&sign(&["--key", "example.org"], &[pass]), 2, "means several secret keys");
    refused(&sign(&["--key", &old], &[pass]), 2, "has expired on 2020-01-02");
    let wrong = ("DOCKLESS_GPG_PASSPHRASE", "wrong");
    refused(&sign(&["--key", &good], &[wrong]), 2, "the passphrase of the key");
    refused(&sign(&["--key", &good], &[("PATH", "/nonexistent"), pass]), 3, "`gpg` is not installed");
    refused(&sign(&[], &[("DOCKLESS_GPG_KEY", "not a key")]), 2, "DOCKLESS_GPG_KEY holds no armoured secret key");
    let broken = "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nnonsense\n-----END PGP PRIVATE KEY BLOCK-----\n";
    refused(&sign(&[], &[("DOCKLESS_GPG_KEY", broken)]), 2, "DOCKLESS_GPG_KEY holds no armoured secret key");
    let secret = keys.secret(&good);
    refused(&sign(&[], &[("DOCKLESS_GPG_KEY", &secret)]), 2, "nobody can be asked for it here");
    refused(&sign(&[], &[("DOCKLESS_GPG_KEY", &secret), wrong]), 2, "the passphrase of the key");
    refused(&sign(&["--key", &old], &[("DOCKLESS_GPG_KEY", &secret), pass]), 2, "there is no secret key");
    // A clock that is behind: the key is of tomorrow.
    let tomorrow = keys.make("Tomorrow <t@example.org>", "1y", &["--faked-system-time", "20990101T000000"]);
    refused(&sign(&["--key", &tomorrow], &[pass]), 3, "after what this machine's clock says");
    // Only to look whether it would work.
    let run = sign(&["--key", &good, "--check"], &[pass]);
    assert!(run.status.success() && text(&run.stderr).contains("can sign"), "{}", text(&run.stderr));
}

#[test]
fn a_directory_that_does_not_hold_is_not_signed() {
    let Some(keys) = Keys::new() else { return };
    let place = release();
    let good = keys.make("Good <g@example.org>", "1y", &[]);
    let sign =
        || keys.dockless(place.path(), &["sign", ".", "--key", &good], &[("DOCKLESS_GPG_PASSPHRASE", PASSPHRASE)]);
    let later = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(4_000_000_000);
    let file = fs::File::options().write(true).open(place.path().join(TARBALL)).expect("a file");
    file.set_modified(later).expect("a time");
    refused(&sign(), 3, "after what this machine's clock says");
    fs::write(place.path().join(TARBALL), "other").expect("written");
    refused(&sign(), 2, "was changed after it was made");
    assert_eq!(signatures(place.path()), [""; 0]);
}

#[test]
fn a_secret_key_of_the_environment_is_in_no_argument_no_inherited_variable_and_nowhere_afterwards() {
    let Some(keys) = Keys::new() else { return };
    let (place, there) = (release(), tempfile::tempdir().expect("a place"));
    let fingerprint = keys.make("Release <r@example.org>", "1y", &[]);
    let (secret, public) = (keys.secret(&fingerprint), there.path().join("key.asc"));
    keys.public(&fingerprint, &public);
    // A gpg that writes down what it is called with and what it inherits.
    let (bin, log) = (there.path().join("bin"), there.path().join("log"));
    fs::create_dir(&bin).expect("made");
    for program in ["gpg", "gpgconf"] {
        let script = format!(
            "#!/bin/sh\n{{ echo {program} \"$@\"; env; }} >> {}\nexec /usr/bin/{program} \"$@\"\n",
            log.display()
        );
        fs::write(bin.join(program), script).expect("written");
        fs::set_permissions(bin.join(program), fs::Permissions::from_mode(0o755)).expect("executable");
    }
    let path = format!("{}:/usr/bin:/bin", bin.display());
    let run = keys.dockless(
        place.path(),
        &["sign", "."],
        &[
            ("DOCKLESS_GPG_KEY", &secret),
            ("DOCKLESS_GPG_PASSPHRASE", PASSPHRASE),
            ("PATH", &path),
            ("DOCKLESS_LOG", "trace"),
        ],
    );
    let said = text(&run.stdout) + &text(&run.stderr);
    if said.contains("no directory in memory") {
        return skip("tmpfs", "neither XDG_RUNTIME_DIR nor /dev/shm is in memory here");
    }
    assert!(run.status.success(), "{said}");
    let logged = fs::read_to_string(&log).expect("it was called");
    let body = secret.lines().nth(3).expect("a line of the key");
    for (place, text) in [("what is said", &said), ("arguments and environment", &logged)] {
        assert!(!text.contains(PASSPHRASE) && !text.contains(body), "a secret in {place}");
    }
    let homes: Vec<PathBuf> = logged
        .lines()
        .filter(|line| line.starts_with("gpg "))
        .filter_map(|line| line.split(" --homedir ").nth(1)?.split(' ').next().map(PathBuf::from))
        .collect();
    assert!(!homes.is_empty() && homes.iter().all(|home| !home.exists()), "{homes:?}");
    assert!(logged.contains("--kill gpg-agent"));
    let public = public.to_str().expect("text");
    let run = keys.dockless(place.path(), &["verify", ".", "--key", public, "--require-signature"], &[]);
    refused(&run, 0, "it holds");
}

#[test]
fn keys_that_have_expired_or_are_revoked_since_are_believed_no_more() {
    let Some(keys) = Keys::new() else { return };
    let (place, there) = (release(), tempfile::tempdir().expect("a place"));
    let id = keys.make("Release <r@example.org>", "1d", &["--faked-system-time", "20200101T000000"]);
    let public = there.path().join("key.asc");
    for name in ["SHA256SUMS".to_owned(), TARBALL.to_owned()] {
        let file = place.path().join(&name);
        let options = ["--faked-system-time", "20200101T010000", "--pinentry-mode", "loopback", "--passphrase-fd", "0"];
        let act = ["--armor", "--local-user", &id, "--detach-sign", file.to_str().expect("text")];
        let made = keys.gpg(&[&options[..], &act].concat(), PASSPHRASE);
        assert!(made.status.success(), "{}", text(&made.stderr));
    }
    keys.public(&id, &public);
    let whom = public.to_str().expect("text");
    let verify = || keys.dockless(place.path(), &["verify", ".", "--key", whom], &[]);
    refused(&verify(), 1, "has expired");
    // The same signatures, once its owner has said that it lives on, and once that it is lost.
    let options = ["--pinentry-mode", "loopback", "--passphrase-fd", "0"];
    assert!(keys.gpg(&[&options[..], &["--quick-set-expire", &id, "0"]].concat(), PASSPHRASE).status.success());
    keys.public(&id, &public);
    refused(&verify(), 0, "it holds");
    let certificate = keys.home.path().join(format!("openpgp-revocs.d/{id}.rev"));
    let certificate = fs::read_to_string(certificate).expect("gpg made one").replace(":-----", "-----");
    keys.gpg(&["--import"], &certificate);
    keys.public(&id, &public);
    refused(&verify(), 1, "was revoked");
    fs::write(&public, keys.secret(&id)).expect("written");
    refused(&verify(), 2, "holds a secret key");
    fs::write(&public, "nothing").expect("written");
    refused(&verify(), 2, "holds no public key");
    let run = keys.dockless(place.path(), &["verify", ".", "--key", whom], &[("PATH", "/nonexistent")]);
    refused(&run, 3, "`gpg` is not installed");
}

#[test]
fn a_release_appears_signed_or_not_at_all() {
    let Some(keys) = Keys::new() else { return };
    let place = packages();
    let id = keys.make("Release <r@example.org>", "1y", &[]);
    let release = |key: &str, variables: &[(&str, &str)]| {
        keys.forget();
        let arguments = ["release", "--stage", "release", "a", "b", "--key", key];
        keys.dockless(place.path(), &arguments, variables)
    };
    refused(&release("nobody@example.org", &[]), 2, "there is no secret key");
    refused(&release(&id, &[("DOCKLESS_GPG_PASSPHRASE", "wrong")]), 2, "the passphrase of the key");
    let dist = place.path().join("dist");
    assert!(!dist.exists(), "a release that cannot be signed is none");
    let run = keys.dockless(place.path(), &["release", "--stage", "package", "a", "--key", &id], &[]);
    refused(&run, 2, "--key is for --stage release");
    let run = release(&id, &[("DOCKLESS_GPG_PASSPHRASE", PASSPHRASE)]);
    assert!(run.status.success(), "{}", text(&run.stderr));
    let three = ["SHA256SUMS.asc", "release-3.11-x86_64.tar.gz.asc", "release-3.12-x86.tar.gz.asc"];
    assert_eq!(signatures(&dist), three);
    let notes = fs::read_to_string(dist.join("RELEASE_NOTES.md")).expect("notes");
    assert!(notes.contains("gpg --verify release-3.1"), "{notes}");
    for name in three {
        let (signature, file) = (dist.join(name), dist.join(name.trim_end_matches(".asc")));
        let words = ["--verify", signature.to_str().expect("text"), file.to_str().expect("text")];
        assert!(keys.gpg(&words, "").status.success(), "{name}");
    }
    let run = keys.dockless(place.path(), &["release", "--stage", "release", "a", "b"], &[]);
    assert!(run.status.success() && text(&run.stderr).contains("`dist` was signed, and what replaces it is not"));
    assert!(signatures(&dist).is_empty());
}

#[test]
fn notes_that_would_belie_a_signature_are_refused() {
    let Some(keys) = Keys::new() else { return };
    let place = release();
    let id = keys.make("Release <r@example.org>", "1y", &[]);
    let pass = [("DOCKLESS_GPG_PASSPHRASE", PASSPHRASE)];
    assert!(keys.dockless(place.path(), &["sign", ".", "--key", &id], &pass).status.success());
    let before = fs::read(place.path().join("SHA256SUMS")).expect("sums");
    refused(&keys.dockless(place.path(), &["describe", "."], &[]), 2, "Describe first, then sign");
    assert_eq!(fs::read(place.path().join("SHA256SUMS")).expect("sums"), before);
    let place = release();
    for command in [vec!["describe", "."], vec!["sign", ".", "--key", &id], vec!["verify", "."]] {
        let run = keys.dockless(place.path(), &command, &pass);
        assert!(run.status.success(), "{command:?}: {}", text(&run.stderr));
    }
}

#[test]
fn bundles_of_cosign_are_made_and_checked_without_the_network() {
    let place = release();
    let there = tempfile::tempdir().expect("a place");
    let run = |program: &str, here: &Path, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).env("COSIGN_PASSWORD", PASSPHRASE).env("HOME", there.path()).current_dir(here);
        // Nobody answers: whoever asked the network would fail.
        command.envs([("HTTPS_PROXY", "http://127.0.0.1:9"), ("HTTP_PROXY", "http://127.0.0.1:9")]);
        command.env_remove("GNUPGHOME").output()
    };
    if !run("cosign", there.path(), &["generate-key-pair"]).is_ok_and(|made| made.status.success()) {
        return skip("cosign", "cosign is not on this machine");
    }
    let key = |name: &str| there.path().join(name).to_str().expect("text").to_owned();
    let (secret, public) = (key("cosign.key"), key("cosign.pub"));
    let dockless = |arguments: &[&str]| run(env!("CARGO_BIN_EXE_dockless"), place.path(), arguments).expect("it runs");
    let signed = dockless(&["sign", ".", "--cosign-key", &secret]);
    assert!(signed.status.success(), "{}", text(&signed.stderr));
    assert!(!text(&signed.stderr).contains(PASSPHRASE));
    let verify = ["verify", ".", "--cosign-key", &public, "--require-signature"];
    refused(&dockless(&verify), 0, "it holds");
    refused(&dockless(&["verify", "."]), 0, "unchecked");
    forge(&place, &format!("{STEM}.cdx.json"), |it| it["version"] = 2.into());
    refused(&dockless(&verify), 1, "FAILED");
    fs::remove_file(place.path().join("SHA256SUMS.sigstore.json")).expect("removed");
    refused(&dockless(&verify), 1, "not signed");
    let wrong = Command::new(env!("CARGO_BIN_EXE_dockless"))
        .args(["sign", ".", "--replace", "--cosign-key", &secret])
        .envs([("COSIGN_PASSWORD", "wrong")])
        .current_dir(place.path())
        .output()
        .expect("it runs");
    refused(&wrong, 1, "`cosign` failed");
}
