//! A panic is our fault and says so.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, Write as _};
use std::panic::{self, PanicHookInfo};
use std::process;

use crate::cli::progress::Style;

use super::{Exit, Report};

/// Makes every panic of the process, in whatever thread, end it with a report and [`Exit::Bug`].
///
/// The process ends at once: a thread that waits for the one that panicked would only panic again. What a run leaves
/// half-done lies in temporary directories, which the next run sweeps; its steps die with it. A `print!` to a closed
/// pipe, which panics too, ends the process quietly and well: whoever reads `dockless … | head` has what they want.
pub fn install(style: Style, columns: usize) {
    panic::set_hook(Box::new(move |info| {
        let words = words(info.payload());
        if is_closed_output(&words) {
            process::exit(0);
        }
        let text = report(&words, info, &Backtrace::capture()).render(style, columns);
        // A live view may stand where the cursor is.
        let _ = io::stderr().write_all(format!("\n{text}").as_bytes());
        process::exit(i32::from(Exit::Bug as u8));
    }));
}

fn words(payload: &dyn Any) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no words").to_owned()
}

/// Whether the standard library could not print because nobody reads.
fn is_closed_output(words: &str) -> bool {
    words.starts_with("failed printing to std") && words.contains("Broken pipe")
}

fn report(words: &str, info: &PanicHookInfo<'_>, backtrace: &Backtrace) -> Report {
    let place = info.location().map(|place| format!(" ({}:{})", place.file(), place.line())).unwrap_or_default();
    let mut report = Report::new(Exit::Bug, format!("this is a bug in dockless: {words}{place}")).help(format!(
        "please report it at {}/issues with these lines, what you ran\nand what `dockless doctor` says; RUST_BACKTRACE=1 adds where it came from",
        env!("CARGO_PKG_REPOSITORY"),
    ));
    report.causes.push(format!("dockless {} on {}", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH));
    if backtrace.status() == BacktraceStatus::Captured {
        report.causes.push(backtrace.to_string());
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_pipe_is_told_from_a_bug() {
        assert!(is_closed_output("failed printing to stdout: Broken pipe (os error 32)"));
        assert!(!is_closed_output("failed printing to stdout: No space left on device (os error 28)"));
        assert!(!is_closed_output("index out of bounds"));
    }

    #[test]
    fn both_kinds_of_payload_are_understood() {
        assert_eq!(words(&"static"), "static");
        assert_eq!(words(&String::from("made")), "made");
        assert_eq!(words(&7), "no words");
    }
}
