//! Statements become instructions (`instructions/parse.go`).

use super::error::Fault;
use super::flags::{Flags, Takes};
use super::heredoc::{Heredoc, chomp};
use super::instruction::{
    Argument, CommandLine, Device, Files, From, Healthcheck, Instruction, KEYWORDS, Kind, Network, Run,
};
use super::lines::Statement;
use super::mount;
use super::numbers::parse_duration;
use super::words::{Pair, blank_separated, json_array, pairs, quoted_words};

/// Reads one statement.
pub(super) fn instruction(statement: &Statement, escape: char) -> Result<Instruction, Fault> {
    let keyword = statement.keyword.to_uppercase();
    let flags = |known: &[(&'static str, Takes)]| Flags::parse(&keyword, &statement.flags, known);
    let rest = statement.rest.as_str();
    let none = |kind: Kind| flags(&[]).map(|_| kind);
    let named = |made: &dyn Fn(Vec<Pair>) -> Kind| {
        let found = pairs(rest, escape, &keyword)?;
        some(&keyword, &found)?;
        match found.iter().find(|pair| pair.name.is_empty()) {
            Some(pair) => Err(Fault::new(format!("{keyword} has a blank name")).about(format!("={}", pair.value))),
            None => none(made(found)),
        }
    };
    let kind = match keyword.as_str() {
        "ADD" | "COPY" => files(&keyword, statement)?,
        "ARG" => none(Kind::Arg(arguments(rest, escape)?))?,
        "CMD" => none(Kind::Cmd(command_line(statement)?))?,
        "ENTRYPOINT" => none(Kind::Entrypoint(command_line(statement)?))?,
        "ENV" => named(&Kind::Env)?,
        "LABEL" => named(&Kind::Label)?,
        "EXPOSE" => {
            let mut ports = blank_separated(rest);
            some(&keyword, &ports)?;
            ports.sort();
            none(Kind::Expose(ports))?
        }
        "FROM" => from(rest, &flags(&[("platform", Takes::One)])?)?,
        "HEALTHCHECK" => Kind::Healthcheck(healthcheck(statement)?),
        "MAINTAINER" => none(Kind::Maintainer(exactly_one(&keyword, rest)?))?,
        "ONBUILD" => none(Kind::Onbuild(onbuild(statement)?))?,
        "RUN" => Kind::Run(run(statement)?),
        "SHELL" => match json_array(rest)? {
            Some(shell) if !shell.is_empty() => none(Kind::Shell(shell))?,
            Some(_) => return Err(at_least_one(&keyword)),
            None => {
                return Err(Fault::new("SHELL must be a JSON array").help("write SHELL [\"/bin/sh\", \"-c\"]"));
            }
        },
        "STOPSIGNAL" => Kind::Stopsignal(exactly_one(&keyword, rest)?),
        "USER" => none(Kind::User(exactly_one(&keyword, rest)?))?,
        "WORKDIR" => none(Kind::Workdir(exactly_one(&keyword, rest)?))?,
        "VOLUME" => {
            let volumes = json_array(rest)?.unwrap_or_else(|| blank_separated(rest));
            some(&keyword, &volumes)?;
            let volumes: Vec<String> = volumes.iter().map(|volume| volume.trim().to_owned()).collect();
            if volumes.iter().any(String::is_empty) {
                return Err(Fault::new("VOLUME cannot be an empty string"));
            }
            none(Kind::Volume(volumes))?
        }
        _ => {
            let fault = Fault::new(format!("unknown instruction `{}`", statement.keyword)).about(&*statement.keyword);
            return Err(fault.meant(&keyword, KEYWORDS));
        }
    };
    let (keyword, lines) = (statement.keyword.clone(), statement.lines.clone());
    Ok(Instruction { keyword, code: statement.original.trim().to_owned(), lines, kind })
}

fn at_least_one(keyword: &str) -> Fault {
    Fault::new(format!("{keyword} requires at least one argument"))
}

fn some<T>(keyword: &str, words: &[T]) -> Result<(), Fault> {
    if words.is_empty() { Err(at_least_one(keyword)) } else { Ok(()) }
}

fn exactly_one(keyword: &str, rest: &str) -> Result<String, Fault> {
    if rest.is_empty() {
        return Err(Fault::new(format!("{keyword} requires exactly one argument")));
    }
    Ok(rest.to_owned())
}

fn from(rest: &str, flags: &Flags) -> Result<Kind, Fault> {
    let words = blank_separated(rest);
    let (base, name) = match words.as_slice() {
        [base] => (base, String::new()),
        [base, word, name] if word.eq_ignore_ascii_case("as") => {
            let lower = name.to_lowercase();
            let valid = lower.starts_with(|c: char| c.is_ascii_lowercase())
                && lower.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c));
            if !valid {
                return Err(Fault::new(format!("invalid name for a stage: `{name}`"))
                    .about(name)
                    .help("begin with a letter; letters, digits, `-`, `_` and `.` may follow"));
            }
            (base, lower)
        }
        _ => return Err(Fault::new("FROM requires either one or three arguments").help("write FROM IMAGE [AS NAME]")),
    };
    Ok(Kind::From(From { base: base.clone(), name, platform: flags.one("platform") }))
}

fn arguments(rest: &str, escape: char) -> Result<Vec<Argument>, Fault> {
    let words = quoted_words(rest, escape);
    some("ARG", &words)?;
    let argument = |word: String| match word.split_once('=') {
        Some(("", _)) => Err(Fault::new("ARG has a blank name").about(word)),
        Some((name, value)) => Ok(Argument { name: name.to_owned(), value: Some(value.to_owned()) }),
        None => Ok(Argument { name: word, value: None }),
    };
    words.into_iter().map(argument).collect()
}

fn command_line(statement: &Statement) -> Result<CommandLine, Fault> {
    let heredocs = statement.heredocs.clone();
    Ok(if let Some(args) = json_array(&statement.rest)? {
        CommandLine { args, heredocs, shell: false }
    } else {
        let args = if statement.rest.is_empty() { Vec::new() } else { vec![statement.rest.clone()] };
        CommandLine { args, heredocs, shell: true }
    })
}

fn run(statement: &Statement) -> Result<Run, Fault> {
    const KNOWN: [(&str, Takes); 4] =
        [("mount", Takes::Many), ("network", Takes::One), ("security", Takes::One), ("device", Takes::Many)];
    let flags = Flags::parse("RUN", &statement.flags, &KNOWN)?;
    let network = match flags.one("network").as_str() {
        "" | "default" => Network::Default,
        "none" => Network::None,
        "host" => Network::Host,
        other => {
            let fault = Fault::new(format!("network mode `{other}` is unsupported")).about(other);
            return Err(fault.help("network modes: default, none, host"));
        }
    };
    let insecure = match flags.one("security").as_str() {
        "" | "sandbox" => false,
        "insecure" => true,
        other => {
            let fault = Fault::new(format!("security `{other}` is not valid")).about(other);
            return Err(fault.help("security modes: sandbox, insecure"));
        }
    };
    let mounts = flags.many("mount");
    // Early, so that what is wrong without any variable is found in stages that are not built, too.
    for text in &mounts {
        mount::source_stage(text)?;
    }
    let devices = flags.many("device").iter().map(|text| device(text)).collect::<Result<_, _>>()?;
    Ok(Run { command: command_line(statement)?, mounts, network, insecure, devices })
}

fn device(text: &str) -> Result<Device, Fault> {
    let mut device = Device::default();
    for field in mount::fields(text)? {
        match field.split_once('=') {
            None if field.eq_ignore_ascii_case("required") => device.required = true,
            Some((key, value)) if key.eq_ignore_ascii_case("required") => {
                device.required = super::numbers::parse_bool(value)
                    .ok_or_else(|| Fault::new(format!("invalid value for {key}: {value}")).about(field.clone()))?;
            }
            Some((key, value)) if key.eq_ignore_ascii_case("name") && device.name.is_empty() => {
                value.clone_into(&mut device.name);
            }
            _ if device.name.is_empty() => device.name = field,
            _ => {
                return Err(Fault::new(format!("unexpected `{field}` of a device"))
                    .about(field)
                    .help("keys: name, required"));
            }
        }
    }
    Ok(device)
}

fn files(keyword: &str, statement: &Statement) -> Result<Kind, Fault> {
    const COPY: [(&str, Takes); 6] = [
        ("from", Takes::One),
        ("chown", Takes::One),
        ("chmod", Takes::One),
        ("link", Takes::Bool),
        ("parents", Takes::Bool),
        ("exclude", Takes::Many),
    ];
    const ADD: [(&str, Takes); 7] = [
        ("chown", Takes::One),
        ("chmod", Takes::One),
        ("link", Takes::Bool),
        ("keep-git-dir", Takes::Bool),
        ("checksum", Takes::One),
        ("unpack", Takes::Bool),
        ("exclude", Takes::Many),
    ];
    let is_add = keyword == "ADD";
    let mut words = json_array(&statement.rest)?.unwrap_or_else(|| blank_separated(&statement.rest));
    if words.len() < 2 {
        return Err(
            Fault::new(format!("{keyword} requires at least two arguments")).help("the last one is the destination")
        );
    }
    let dest = words.pop().unwrap_or_default();
    let flags = Flags::parse(keyword, &statement.flags, if is_add { &ADD } else { &COPY })?;
    if Heredoc::parse(&dest).ok().flatten().is_some() {
        return Err(Fault::new(format!("{keyword} cannot accept a heredoc as a destination")).about(dest));
    }
    let mut files = Files {
        dest,
        from: flags.one("from"),
        chown: flags.one("chown"),
        chmod: flags.one("chmod"),
        link: flags.is_true("link"),
        parents: flags.is_true("parents"),
        exclude: flags.many("exclude"),
        keep_git_dir: flags.given("keep-git-dir"),
        checksum: flags.one("checksum"),
        unpack: flags.given("unpack"),
        ..Files::default()
    };
    for word in words {
        match Heredoc::parse(&word).ok().flatten() {
            Some(mut document) => {
                let found = statement.heredocs.iter().rfind(|heredoc| heredoc.name == document.name);
                document.content = found.map(|heredoc| heredoc.content.clone()).unwrap_or_default();
                if document.chomp {
                    document.content = chomp(&document.content);
                }
                files.documents.push(document);
            }
            None => files.sources.push(word),
        }
    }
    Ok(if is_add { Kind::Add(files) } else { Kind::Copy(files) })
}

fn onbuild(statement: &Statement) -> Result<String, Fault> {
    let inner = super::lines::statement(&statement.rest, '\\', statement.lines.clone());
    match inner.keyword.to_uppercase().as_str() {
        "" => return Err(at_least_one("ONBUILD")),
        "ONBUILD" => return Err(Fault::new("ONBUILD within ONBUILD is not allowed").about("ONBUILD")),
        word @ ("MAINTAINER" | "FROM") => {
            return Err(Fault::new(format!("{word} is not allowed as a trigger of ONBUILD")).about(inner.keyword));
        }
        _ => {}
    }
    let behind = statement.original.trim_start();
    let mut text = behind.get("ONBUILD".len()..).unwrap_or_default().trim_start().to_owned();
    for heredoc in &statement.heredocs {
        text.push('\n');
        text.push_str(&heredoc.content);
        text.push_str(&heredoc.name);
    }
    Ok(text)
}

fn healthcheck(statement: &Statement) -> Result<Healthcheck, Fault> {
    const KNOWN: [(&str, Takes); 5] = [
        ("interval", Takes::One),
        ("timeout", Takes::One),
        ("start-period", Takes::One),
        ("start-interval", Takes::One),
        ("retries", Takes::One),
    ];
    let rest = statement.rest.as_str();
    let (word, command) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let command = command.trim_start();
    let kind = match word.to_uppercase().as_str() {
        "" => return Err(at_least_one("HEALTHCHECK")),
        "NONE" if command.is_empty() => {
            return Ok(Healthcheck { test: vec!["NONE".to_owned()], ..Healthcheck::default() });
        }
        "NONE" => return Err(Fault::new("HEALTHCHECK NONE takes no arguments").about(command)),
        "CMD" => json_array(command)?,
        _ => {
            return Err(Fault::new(format!("unknown type `{word}` of HEALTHCHECK"))
                .about(word)
                .help("write CMD or NONE"));
        }
    };
    let flags = Flags::parse("HEALTHCHECK", &statement.flags, &KNOWN)?;
    let test = match kind {
        Some(args) => [vec!["CMD".to_owned()], args].concat(),
        None if command.is_empty() => Vec::new(),
        None => vec!["CMD-SHELL".to_owned(), command.to_owned()],
    };
    if test.len() < 2 {
        return Err(Fault::new("a command is missing behind HEALTHCHECK CMD"));
    }
    let interval = |name: &str| {
        let value = flags.one(name);
        match parse_duration(if value.is_empty() { "0" } else { &value }) {
            Some(0) => Ok(0),
            Some(nanoseconds) if nanoseconds >= 1_000_000 => Ok(nanoseconds),
            Some(_) => Err(Fault::new(format!("--{name} cannot be less than 1ms")).about(value)),
            None => Err(Fault::new(format!("`{value}` is no duration")).about(value).help("write 30s, 1m30s or 500ms")),
        }
    };
    let retries = match flags.one("retries").as_str() {
        "" => 0,
        value => value
            .parse::<i32>()
            .ok()
            .filter(|count| *count >= 0)
            .map(i64::from)
            .ok_or_else(|| Fault::new(format!("--retries is no count: `{value}`")).about(value))?,
    };
    Ok(Healthcheck {
        test,
        interval: interval("interval")?,
        timeout: interval("timeout")?,
        start_period: interval("start-period")?,
        start_interval: interval("start-interval")?,
        retries,
    })
}

/// Reads the one instruction of an `ONBUILD` trigger.
pub(super) fn trigger(text: &str) -> Result<Instruction, Fault> {
    let parsed = super::lines::parse(text).map_err(|(fault, _)| fault)?;
    match parsed.statements.as_slice() {
        [only] => instruction(only, parsed.escape),
        _ => Err(Fault::new("a trigger of ONBUILD is one instruction")),
    }
    .and_then(|instruction| match instruction.kind {
        Kind::From(_) => Err(Fault::new("FROM is not allowed as a trigger of ONBUILD")),
        Kind::Onbuild(_) => Err(Fault::new("ONBUILD within ONBUILD is not allowed")),
        _ => Ok(instruction),
    })
}
