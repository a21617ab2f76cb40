//! Which of its lives a process is in: told by its first argument, before any thread exists.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{self, Command};

use super::enter::enter;
use super::init::init;
use super::probe;

/// The first argument that marks another life than the command's.
pub(super) const MARK: &str = "--dockless-life";

/// A life other than the command's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Life {
    /// The init of one step, which reads its plan from standard input.
    Init,
    /// Tries what this machine can do, writes it to standard output and ends.
    Probe {
        /// A directory on the file system to try overlays and roots on; without, only namespaces are tried.
        place: Option<PathBuf>,
    },
    /// Enters the builder's user namespace and becomes another program in it.
    Enter {
        /// Program and arguments.
        command: Vec<OsString>,
    },
}

/// Tells from the arguments of the process, its own name first, whether it is to live another life.
pub fn life(args: impl IntoIterator<Item = OsString>) -> Option<Life> {
    let mut args = args.into_iter().skip(1);
    if args.next()? != MARK {
        return None;
    }
    match args.next()?.to_str()? {
        "init" => Some(Life::Init),
        "probe" => Some(Life::Probe { place: args.next().map(PathBuf::from) }),
        "enter" => Some(Life::Enter { command: args.collect() }),
        _ => None,
    }
}

impl Life {
    /// Lives it.
    pub fn live(self) -> ! {
        match self {
            Self::Init => init(),
            Self::Probe { place } => probe::answer(place.as_deref()),
            Self::Enter { command } => become_program(&command),
        }
    }
}

fn become_program(command: &[OsString]) -> ! {
    let Some((program, args)) = command.split_first() else { process::exit(2) };
    let message = match enter() {
        Ok(_) => format!("failed to execute `{}`: {}", program.display(), Command::new(program).args(args).exec()),
        Err(error) => error.to_string(),
    };
    let _ = writeln!(io::stderr(), "{message}");
    process::exit(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_arguments_are_the_commands_life() {
        let life = |args: &[&str]| life(args.iter().map(OsString::from));
        assert_eq!(life(&[]), None);
        assert_eq!(life(&["dockless"]), None);
        assert_eq!(life(&["dockless", "build", MARK, "init"]), None);
        assert_eq!(life(&["dockless", MARK]), None);
        assert_eq!(life(&["dockless", MARK, "other"]), None);
        assert_eq!(life(&["dockless", MARK, "init"]), Some(Life::Init));
    }
}
