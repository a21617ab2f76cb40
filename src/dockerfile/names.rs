//! What vertices are called: `[build 2/5] RUN make` (`convert.go prefixCommand`).

use super::expand::Lexer;
use super::platform::{self, Platform};
use super::stage::Stage;
use super::state::Env;

impl Stage {
    /// Counts an instruction, and puts its number before its name.
    pub(super) fn numbered(&mut self, name: &str, platform: Option<&Platform>, env: &Env) -> String {
        if self.total == 0 {
            return name.to_owned();
        }
        let mut prefix = "[".to_owned();
        if let Some(platform) = platform {
            prefix.push_str(&format!("{}{} ", platform::name(platform), towards(platform, env)));
        }
        if !self.name.is_empty() {
            prefix.push_str(&format!("{} ", self.name));
        }
        self.index += 1;
        let width = self.total.to_string().len();
        prefix.push_str(&format!("{:width$}/{}] ", self.index, self.total));
        if self.on_build {
            prefix.push_str("ONBUILD ");
        }
        prefix + name
    }
}

/// `->arm64`, where a step of this platform builds for another one.
fn towards(base: &Platform, env: &Env) -> String {
    let mut target = Platform::default();
    let mut is_set = false;
    for name in env.names() {
        let value = env.get(name).unwrap_or_default();
        let field = match name {
            "TARGETPLATFORM" => match platform::parse(&value) {
                Ok(parsed) => {
                    (target, is_set) = (parsed, true);
                    break;
                }
                Err(_) => continue,
            },
            "TARGETOS" => &mut target.os,
            "TARGETARCH" => &mut target.architecture,
            "TARGETVARIANT" => &mut target.variant,
            _ => continue,
        };
        (*field, is_set) = (value, true);
    }
    if !is_set {
        return String::new();
    }
    for (field, default) in [(&mut target.os, &base.os), (&mut target.architecture, &base.architecture)] {
        if field.is_empty() {
            field.clone_from(default);
        }
    }
    let target = crate::llb::normalise(&target);
    if target.os != base.os {
        return format!("->{}", platform::name(&target));
    }
    if target.architecture == base.architecture {
        return String::new();
    }
    format!("->{}", platform::name(&Platform { os: String::new(), ..target }))
}

/// The text of an instruction with its variables expanded, where that succeeds, and its keyword in capitals.
pub(super) fn shown(lexer: &Lexer, code: &str, lookup: super::expand::Lookup<'_>) -> String {
    let text = lexer.word(code, lookup).unwrap_or_else(|_| code.to_owned());
    match text.split_once(' ') {
        Some((keyword, rest)) => format!("{} {rest}", keyword.to_uppercase()),
        None => text.to_uppercase(),
    }
}
