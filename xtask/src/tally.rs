//! Counting tests in the output of `cargo test`, while passing it on.

use std::{fmt, ops::AddAssign};

/// How many tests there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Tally {
    /// Reads a line such as `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; …`.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let (_, counts) = line.trim().strip_prefix("test result: ")?.split_once(". ")?;
        let mut tally = Self::default();
        for count in counts.split(';') {
            // The last field is the time, which is no count.
            let Some((number, what)) = count.trim().split_once(' ') else { continue };
            let field = match what {
                "passed" => &mut tally.passed,
                "failed" => &mut tally.failed,
                "ignored" => &mut tally.skipped,
                _ => continue,
            };
            *field = number.parse().ok()?;
        }
        Some(tally)
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        let Self { passed, failed, skipped } = other;
        self.passed += passed;
        self.failed += failed;
        self.skipped += skipped;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { passed, failed, skipped } = self;
        write!(f, "{passed} passed, {failed} failed")?;
        if *skipped > 0 {
            write!(f, ", {skipped} skipped")?;
        }
        Ok(())
    }
}

/// Adds up the results in a stream that arrives in pieces of any size.
#[derive(Debug, Default)]
pub(crate) struct Counter {
    line: Vec<u8>,
    tally: Tally,
}

impl Counter {
    /// Takes the next piece.
    pub(crate) fn feed(&mut self, mut piece: &[u8]) {
        while let Some(end) = piece.iter().position(|byte| *byte == b'\n') {
            self.line.extend_from_slice(&piece[..end]);
            self.end_line();
            piece = &piece[end + 1..];
        }
        self.line.extend_from_slice(piece);
    }

    /// The sum so far.
    pub(crate) fn tally(&self) -> Tally {
        self.tally
    }

    fn end_line(&mut self) {
        if let Some(tally) = Tally::parse(&String::from_utf8_lossy(&self.line)) {
            self.tally += tally;
        }
        self.line.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESULT: &str =
        "test result: FAILED. 12 passed; 2 failed; 3 ignored; 0 measured; 40 filtered out; finished in 0.01s";

    #[test]
    fn a_result_line_is_counted() {
        assert_eq!(Tally::parse(RESULT), Some(Tally { passed: 12, failed: 2, skipped: 3 }));
    }

    #[test]
    fn other_lines_are_not() {
        assert_eq!(Tally::parse("test tally::tests::x ... ok"), None);
        assert_eq!(Tally::parse("running 3 tests"), None);
        assert_eq!(Tally::parse(""), None);
    }

    #[test]
    fn results_are_added_up_however_the_stream_is_cut() {
        let stream = format!("running 1 test\n{RESULT}\n\n{RESULT}\nrest");
        for size in 1..stream.len() {
            let mut counter = Counter::default();
            stream.as_bytes().chunks(size).for_each(|piece| counter.feed(piece));
            assert_eq!(counter.tally(), Tally { passed: 24, failed: 4, skipped: 6 }, "pieces of {size}");
        }
    }

    #[test]
    fn the_closing_line_mentions_skipped_tests_only_if_there_are_any() {
        assert_eq!(Tally { passed: 3, failed: 0, skipped: 0 }.to_string(), "3 passed, 0 failed");
        assert_eq!(Tally { passed: 3, failed: 1, skipped: 2 }.to_string(), "3 passed, 1 failed, 2 skipped");
    }
}
