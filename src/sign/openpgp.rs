//! Checking OpenPGP signatures.
//!
//! Who is believed is always said by the caller: the keys of one file, one key of the user's keyring, or those of it that
//! the user's own trust in them covers. What gpg says to programs decides, not its exit code, which is also 0 for a key that
//! has expired.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::error::{Doubt, SignError};
use super::gpg::{Answer, Gpg, Status};
use super::key::{CLOCKS, day};

/// Who is believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Believed {
    /// Every key of these files, and nobody else.
    Files(Vec<PathBuf>),
    /// A key of the user's keyring by its whole fingerprint, or without one those that gpg calls valid: the user has
    /// signed them or trusts who did (`gpg(1)`, trust models).
    Keyring(Option<String>),
}

/// A signature that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// Fingerprint of the primary key.
    pub fingerprint: String,
    /// Whose it is, as the key says.
    pub user: String,
    /// When it was made, seconds since 1970, as it says itself.
    pub made: i64,
}

impl Signed {
    /// Returns the day on which it was made, as `2026-11-26`.
    pub fn day(&self) -> String {
        day(self.made)
    }
}

/// A gpg that can check signatures by who is believed.
#[derive(Debug)]
pub struct Checker {
    gpg: Gpg,
    believed: Believed,
    now: i64,
    /// Public keys only.
    _home: Option<TempDir>,
}

/// The most bytes of a file of keys.
const MOST: u64 = 8 << 20;

impl Checker {
    /// Reads the keys. `now` is this machine's time, seconds since 1970.
    ///
    /// # Errors
    /// `NoProgram`, `NoPublicKey`, `SecretKey`, `Io`.
    pub fn open(believed: &Believed, now: i64) -> Result<Self, SignError> {
        let Believed::Files(files) = believed else {
            return Ok(Self { gpg: Gpg::of_user(), believed: believed.clone(), now, _home: None });
        };
        let place = std::env::temp_dir();
        let home = tempfile::Builder::new()
            .prefix("dockless-keys-")
            .tempdir()
            .map_err(SignError::io("create a directory in", &place))?;
        let gpg = Gpg::at(home.path());
        for path in files {
            let length = fs::metadata(path).map_err(SignError::io("read", path))?.len();
            let bytes = fs::read(path).map_err(SignError::io("read", path))?;
            if String::from_utf8_lossy(&bytes).contains("BEGIN PGP PRIVATE KEY BLOCK") {
                return Err(SignError::SecretKey { path: path.clone() });
            }
            let answer = gpg.run(Status::Output, &["--no-autostart", "--import"], &bytes)?;
            if length > MOST || answer.status("IMPORT_OK").is_none() {
                return Err(SignError::NoPublicKey { path: path.clone() });
            }
        }
        Ok(Self { gpg, believed: believed.clone(), now, _home: Some(home) })
    }

    /// Checks a detached signature of a file. The inner error says why it is not believed.
    ///
    /// # Errors
    /// `NoProgram`, `Io`.
    pub fn check(&self, signature: &Path, file: &Path) -> Result<Result<Signed, Doubt>, SignError> {
        let mut arguments: Vec<OsString> =
            ["--no-autostart", "--no-auto-key-retrieve", "--no-auto-key-locate", "--disable-dirmngr"]
                .map(Into::into)
                .into();
        if matches!(self.believed, Believed::Files(_)) {
            arguments.extend(["--trust-model", "always"].map(Into::into));
        }
        arguments.extend(["--verify", "--"].map(Into::into));
        for path in [signature, file] {
            arguments.push(std::path::absolute(path).map_err(SignError::io("find", path))?.into());
        }
        let answer = self.gpg.run(Status::Output, &arguments, b"")?;
        Ok(self.judge(&answer))
    }

    /// Looks at every signature of the file: one that is believed is enough, one that is of other bytes is too much.
    fn judge(&self, answer: &Answer) -> Result<Signed, Doubt> {
        let unreadable = || Doubt::Unreadable { said: answer.said.clone() };
        if ["PLAINTEXT", "UNEXPECTED", "NODATA"].iter().any(|word| answer.status(word).is_some()) {
            return Err(unreadable());
        }
        let mut signatures: Vec<Vec<(&str, &str)>> = Vec::new();
        for (keyword, rest) in &answer.status {
            match (keyword.as_str(), signatures.last_mut()) {
                ("NEWSIG", _) => signatures.push(Vec::new()),
                (keyword, Some(signature)) => signature.push((keyword, rest)),
                _ => {}
            }
        }
        let mut judged: Vec<Result<Signed, Doubt>> =
            signatures.iter().map(|signature| self.judge_one(signature).ok_or_else(unreadable)?).collect();
        if let Some(bad) = judged.iter().position(|it| *it == Err(Doubt::Bad)) {
            return judged.swap_remove(bad);
        }
        match judged.iter().position(Result::is_ok) {
            Some(good) => judged.swap_remove(good),
            None => judged.into_iter().next().unwrap_or_else(|| Err(unreadable())),
        }
    }

    /// `doc/DETAILS` of GnuPG, "Signature related": exactly one of these keywords tells what is the matter.
    fn judge_one(&self, signature: &[(&str, &str)]) -> Option<Result<Signed, Doubt>> {
        let rest = |keyword: &str| signature.iter().find(|(found, _)| *found == keyword).map(|(_, rest)| *rest);
        let word = |text: &str, at: usize| text.split(' ').nth(at).unwrap_or_default().to_owned();
        if rest("BADSIG").is_some() {
            return Some(Err(Doubt::Bad));
        }
        if let Some(why) = rest("ERRSIG") {
            // Keyid, algorithms, class, time, reason, fingerprint where the signature names it.
            let key = Some(word(why, 6)).filter(|it| it.len() >= 40).unwrap_or_else(|| word(why, 0));
            let unknown = word(why, 5) == "9";
            return unknown.then_some(Err(Doubt::Stranger { key }));
        }
        for (keyword, doubt) in [("REVKEYSIG", 0), ("EXPKEYSIG", 1), ("EXPSIG", 2)] {
            if let Some(who) = rest(keyword) {
                let key = rest("VALIDSIG").map_or_else(|| word(who, 0), |valid| word(valid, 9));
                return Some(Err(match doubt {
                    0 => Doubt::Revoked { key },
                    1 => Doubt::ExpiredKey { key },
                    _ => Doubt::Expired,
                }));
            }
        }
        let (good, valid) = (rest("GOODSIG")?, rest("VALIDSIG")?);
        let fingerprint = Some(word(valid, 9)).filter(|it| it.len() >= 40).unwrap_or_else(|| word(valid, 0));
        let made: i64 = word(valid, 2).parse().ok()?;
        let weak = match word(valid, 7).as_str() {
            "1" => Some("MD5"),
            "2" => Some("SHA1"),
            "3" => Some("RIPEMD160"),
            _ => None,
        };
        if let Some(algorithm) = weak {
            return Some(Err(Doubt::Weak { algorithm }));
        }
        if made > self.now.saturating_add(CLOCKS) {
            return Some(Err(Doubt::Future { seconds: made - self.now }));
        }
        match &self.believed {
            Believed::Files(_) => {}
            Believed::Keyring(Some(wanted)) => {
                if ![&fingerprint, &word(valid, 0)].iter().any(|it| it.eq_ignore_ascii_case(wanted)) {
                    return Some(Err(Doubt::Stranger { key: fingerprint }));
                }
            }
            Believed::Keyring(None) => {
                if rest("TRUST_FULLY").is_none() && rest("TRUST_ULTIMATE").is_none() {
                    return Some(Err(Doubt::Untrusted { key: fingerprint }));
                }
            }
        }
        let user = good.split_once(' ').map(|(_, user)| user.to_owned()).unwrap_or_default();
        Some(Ok(Signed { fingerprint, user, made }))
    }
}
