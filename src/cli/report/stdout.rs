//! Results on standard output.

use std::io::{self, ErrorKind, Write};

use super::{Exit, Report};

/// Whether anybody reads the results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Printed {
    /// They were written.
    Written,
    /// The reader closed its end; further results are not wanted, and that is no error.
    Closed,
}

/// Writes `bytes` to standard output.
///
/// # Errors
///
/// A report with [`Exit::Machine`] where standard output cannot be written, e.g. because its disk is full.
pub fn print(bytes: &[u8]) -> Result<Printed, Box<Report>> {
    print_to(&mut io::stdout().lock(), bytes)
}

fn print_to(out: &mut impl Write, bytes: &[u8]) -> Result<Printed, Box<Report>> {
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(Printed::Written),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Printed::Closed),
        Err(error) => {
            let mut report = Report::new(Exit::Machine, "failed to write to standard output");
            report.causes.push(error.to_string());
            Err(report.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Broken(ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_reader_is_no_error_and_a_full_disk_is() {
        assert_eq!(print_to(&mut Vec::new(), b"x"), Ok(Printed::Written));
        assert_eq!(print_to(&mut Broken(ErrorKind::BrokenPipe), b"x"), Ok(Printed::Closed));
        let report = print_to(&mut Broken(ErrorKind::StorageFull), b"x").expect_err("a full disk");
        assert_eq!(report.exit, Exit::Machine);
    }
}
