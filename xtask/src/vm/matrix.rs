//! The table of kernels and cases.

use std::{collections::BTreeSet, fmt::Write as _};

use super::{
    known,
    results::{Case, Outcome, Results},
};
use crate::tally::Tally;

/// What one kernel came to.
pub(super) struct Column {
    pub(super) version: String,
    pub(super) results: Results,
}

/// How a case counts on a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Mark {
    Passed,
    Failed,
    /// It has failed and cannot but fail, for this reason.
    Known(&'static str),
    /// It has passed, although it is said to be unable to for this reason.
    Surprise(&'static str),
    Skipped(String),
    /// There is no such case on this kernel.
    Absent,
}

impl Column {
    fn mark(&self, case: &Case) -> Mark {
        match self.results.cases.get(case) {
            None => Mark::Absent,
            Some(Outcome::Passed) => known::reason(&self.version, case).map_or(Mark::Passed, Mark::Surprise),
            Some(Outcome::Skipped(reason)) => Mark::Skipped(reason.clone()),
            Some(Outcome::Failed(_)) => known::reason(&self.version, case).map_or(Mark::Failed, Mark::Known),
        }
    }

    /// Whether nothing has failed that could pass, nor passed what could not, and the job came to its end.
    pub(super) fn is_green(&self) -> bool {
        let is_bad = |case| matches!(self.mark(case), Mark::Failed | Mark::Surprise(_));
        self.results.ended && !self.results.cases.keys().any(is_bad)
    }

    /// How many cases passed, failed and were skipped; a machine that stopped is one more failure.
    pub(super) fn tally(&self) -> Tally {
        let mut tally = Tally { failed: u64::from(!self.results.ended), ..Tally::default() };
        for case in self.results.cases.keys() {
            match self.mark(case) {
                Mark::Passed => tally.passed += 1,
                Mark::Failed | Mark::Surprise(_) => tally.failed += 1,
                Mark::Known(_) | Mark::Skipped(_) => tally.skipped += 1,
                Mark::Absent => {}
            }
        }
        tally
    }

    /// What passed although it is said to be unable to.
    pub(super) fn surprises(&self) -> impl Iterator<Item = (&Case, &'static str)> {
        self.results.cases.keys().filter_map(|case| match self.mark(case) {
            Mark::Surprise(reason) => Some((case, reason)),
            _ => None,
        })
    }

    /// What has failed, with what was said.
    pub(super) fn failures(&self) -> impl Iterator<Item = (&Case, &str)> {
        self.results.cases.iter().filter_map(|(case, outcome)| match outcome {
            Outcome::Failed(said) if self.mark(case) == Mark::Failed => Some((case, said.as_str())),
            _ => None,
        })
    }

    /// One line about it.
    pub(super) fn summary(&self) -> String {
        let marks: Vec<Mark> = self.results.cases.keys().map(|case| self.mark(case)).collect();
        let count = |wanted: fn(&Mark) -> bool| marks.iter().filter(|mark| wanted(mark)).count();
        let passed = count(|mark| *mark == Mark::Passed);
        let failed = count(|mark| matches!(mark, Mark::Failed | Mark::Surprise(_)));
        let mut text = format!("{}: {passed} passed, {failed} failed", self.version);
        for (what, number) in [
            ("not possible there", count(|mark| matches!(mark, Mark::Known(_)))),
            ("skipped", count(|mark| matches!(mark, Mark::Skipped(_)))),
        ] {
            if number > 0 {
                let _ = write!(text, ", {number} {what}");
            }
        }
        if !self.results.ended {
            text.push_str("; did not come to its end");
        }
        text
    }
}

/// The table, with the reasons for what is not `ok` below it.
pub(super) fn table(columns: &[Column]) -> String {
    let cases: BTreeSet<&Case> = columns.iter().flat_map(|column| column.results.cases.keys()).collect();
    let width = cases.iter().map(|case| case.name.len() + 2).max().unwrap_or(0).max(4);
    let mut text = format!("{:<width$}", "CASE");
    for column in columns {
        let _ = write!(text, "  {}", column.version);
    }
    let mut reasons: Vec<String> = Vec::new();
    let mut part = "";
    for case in cases {
        if case.part != part {
            part = &case.part;
            let _ = write!(text, "\n{part}");
        }
        let _ = write!(text, "\n{:<width$}", format!("  {}", case.name));
        for column in columns {
            let word = match column.mark(case) {
                Mark::Passed => "ok".to_owned(),
                Mark::Failed => "FAILED".to_owned(),
                Mark::Absent => "-".to_owned(),
                Mark::Surprise(_) => "UNEXPECTED".to_owned(),
                Mark::Known(reason) => format!("no [{}]", note(&mut reasons, reason)),
                Mark::Skipped(reason) => format!("skipped [{}]", note(&mut reasons, &reason)),
            };
            let _ = write!(text, "  {word:<room$}", room = column.version.len());
        }
    }
    text.push('\n');
    for (index, reason) in reasons.iter().enumerate() {
        let _ = writeln!(text, "[{}] {reason}", index + 1);
    }
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n") + "\n"
}

/// The number of a reason, each of which is told once.
fn note(reasons: &mut Vec<String>, reason: &str) -> usize {
    let known = reasons.iter().position(|known| known == reason);
    known.unwrap_or_else(|| {
        reasons.push(reason.to_owned());
        reasons.len() - 1
    }) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(version: &str, lines: &str) -> Column {
        let mut results = Results::default();
        for line in lines.lines() {
            results.take(line);
        }
        Column { version: version.to_owned(), results }
    }

    const CASES: &str = "zc-vm: begin check\nsched_switch tp_btf works x\nzc-vm: begin exact\n\
        test requests_that_go_on_are_counted_each_time ... FAILED\n";

    #[test]
    fn what_cannot_pass_is_shown_with_its_reason_and_is_no_failure() {
        let old = column("6.1.0-56", &format!("{CASES}zc-vm: end"));
        assert!(old.is_green());
        let text = table(&[old]);
        assert!(text.contains("\n  requests_that_go_on_are_counted_each_time  no [1]\n"), "{text}");
        assert!(text.contains("[1] the fixture needs"), "{text}");
    }

    #[test]
    fn what_passes_against_what_is_known_is_a_failure() {
        let passed = CASES.replace("FAILED", "ok") + "zc-vm: end";
        let old = column("6.1.0-56", &passed);
        assert!(!old.is_green());
        assert_eq!(old.surprises().count(), 1);
        assert_eq!(old.tally(), Tally { passed: 1, failed: 1, skipped: 0 });
        assert!(column("6.12.117+deb12", &passed).is_green());
    }

    #[test]
    fn what_fails_without_a_known_reason_is_a_failure() {
        let new = column("6.12.117+deb12", &format!("{CASES}zc-vm: end"));
        assert!(!new.is_green());
        assert_eq!(new.failures().count(), 1);
        assert!(new.summary().contains("1 passed, 1 failed"), "{}", new.summary());
    }

    #[test]
    fn a_kernel_that_stopped_is_not_green() {
        let stopped = column("6.1.0-56", CASES);
        assert!(!stopped.is_green());
        assert!(stopped.summary().contains("did not come to its end"));
    }
}
