//! What a machine's job wrote, case by case.

use std::collections::BTreeMap;

use crate::verifier::{self, Judgement, Programs};

/// What became of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Passed,
    /// With what was said about it.
    Failed(String),
    /// With the reason.
    Skipped(String),
}

/// One case: the part of the job that it is in, and its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Case {
    pub(super) part: String,
    pub(super) name: String,
}

/// How a part of the job begins in what it writes.
pub(super) const BEGIN: &str = "zc-vm: begin ";

/// What the machine writes when the job was done to its end.
pub(super) const END: &str = "zc-vm: end";

/// The part in which `zc check` speaks.
pub(super) const CHECK: &str = "check";

/// The part of what the kernel made of the programs.
const VERIFIER: &str = "verifier";

/// Reads what a job has written so far, line by line.
#[derive(Default)]
pub(super) struct Results {
    pub(super) cases: BTreeMap<Case, Outcome>,
    /// What the kernel made of the programs.
    pub(super) programs: Programs,
    /// The job came to its end.
    pub(super) ended: bool,
    part: String,
    /// The test that was begun, or the hook that was told.
    last: Option<Case>,
    /// The test whose output follows.
    shown: Option<Case>,
}

impl Results {
    /// Takes the next line; returns the case that it is the end of.
    pub(super) fn take(&mut self, line: &str) -> Option<(Case, Outcome)> {
        let line = line.trim_end();
        if let Some(part) = line.strip_prefix(BEGIN) {
            part.clone_into(&mut self.part);
            self.last = None;
            self.shown = None;
            return None;
        }
        if line.ends_with(END) {
            self.ended = true;
            return None;
        }
        if self.part == CHECK { self.take_hook(line) } else { self.take_test(line) }
    }

    /// What no machine at all came to, for others to be taken in.
    pub(super) fn of_none() -> Self {
        Self { ended: true, ..Self::default() }
    }

    /// Takes in what another machine with the same kernel came to.
    pub(super) fn join(&mut self, other: Self) {
        let Self { cases, programs, ended, part: _, last: _, shown: _ } = other;
        self.cases.extend(cases);
        self.programs.extend(programs);
        self.ended &= ended;
    }

    /// Makes a case of each program that was compared with the record.
    pub(super) fn add_judgements(&mut self, judgements: Vec<Judgement>) {
        for Judgement { program, is_growth, said } in judgements {
            let case = Case { part: VERIFIER.to_owned(), name: program };
            let outcome = if is_growth {
                Outcome::Failed(format!("{said}; {}", verifier::ADVICE))
            } else {
                Outcome::Passed
            };
            self.cases.insert(case, outcome);
        }
    }

    fn case(&self, name: &str) -> Case {
        Case { part: self.part.clone(), name: name.to_owned() }
    }

    fn end(&mut self, case: Case, outcome: Outcome) -> (Case, Outcome) {
        self.cases.insert(case.clone(), outcome.clone());
        (case, outcome)
    }

    /// A line of the table of hooks: name, method, status and purpose; the reason of a missing one is on the next line.
    fn take_hook(&mut self, line: &str) -> Option<(Case, Outcome)> {
        if let Some((program, size)) = verifier::line(line) {
            self.programs.insert(program, size);
            return None;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        if let [name, _method, status @ ("works" | "missing"), ..] = words[..] {
            let case = self.case(name);
            let outcome = if status == "works" { Outcome::Passed } else { Outcome::Failed(String::new()) };
            self.last = (status == "missing").then(|| case.clone());
            return Some(self.end(case, outcome));
        }
        let missing = self.last.take()?;
        // The case is known already; now its reason is.
        self.end(missing, Outcome::Failed(line.trim().to_owned()));
        None
    }

    /// A line of a test program: `test NAME ... ok`, or the output of tests after all of them.
    fn take_test(&mut self, line: &str) -> Option<(Case, Outcome)> {
        if let Some(name) = line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----")) {
            self.shown = Some(self.case(name));
            return None;
        }
        if let Some((name, result)) = line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... ")) {
            let case = self.case(name);
            self.last = Some(case);
            return self.take_result(result);
        }
        if line == "failures:" || line == "successes:" || line.starts_with("test result: ") {
            self.shown = None;
            return None;
        }
        if let Some(case) = self.shown.clone() {
            self.take_output(&case, line);
            return None;
        }
        self.take_result(line)
    }

    /// The result may come some lines after the name, when the test has written something in between.
    fn take_result(&mut self, line: &str) -> Option<(Case, Outcome)> {
        let word = line.split_whitespace().last()?;
        let outcome = match word {
            "ok" => Outcome::Passed,
            "FAILED" => Outcome::Failed(String::new()),
            "ignored" => Outcome::Skipped("ignored".to_owned()),
            _ => return None,
        };
        let case = self.last.take()?;
        Some(self.end(case, outcome))
    }

    fn take_output(&mut self, case: &Case, line: &str) {
        match self.cases.get_mut(case) {
            Some(Outcome::Failed(said)) => {
                said.push_str(line);
                said.push('\n');
            }
            Some(outcome @ Outcome::Passed) => {
                if let Some(reason) = line.strip_prefix("skipped: ") {
                    *outcome = Outcome::Skipped(reason.to_owned());
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &str) -> Results {
        let mut results = Results::default();
        for line in lines.lines() {
            results.take(line);
        }
        results
    }

    fn outcome(results: &Results, part: &str, name: &str) -> Option<Outcome> {
        results.cases.get(&Case { part: part.to_owned(), name: name.to_owned() }).cloned()
    }

    const JOB: &str = "zc-vm: begin check\n\
        \u{20} HOOK                  METHOD      STATUS      FOR\n\
        \u{20} sys_exit              tp_btf      works       the ends of all calls\n\
        \u{20} io_uring_submit_req   -           missing     what requests move\n\
        \u{20}     unknown BTF type `x`\n\
        \n\
        \u{20} PROGRAM               INSTRUCTIONS VERIFIED  BYTES OF MACHINE CODE\n\
        \u{20} zc_sys_exit                           83944                  93632\n\
        zc-vm: begin exact\n\
        running 3 tests\n\
        test one ... ok\n\
        test two ... said something\n\
        FAILED\n\
        test three ... ok\n\
        \n\
        successes:\n\
        \n\
        ---- three stdout ----\n\
        skipped: no such program\n\
        \n\
        failures:\n\
        \n\
        ---- two stdout ----\n\
        two: 1 differences\n\
        test four ... ok\n\
        \n\
        failures:\n\
        \u{20}   two\n\
        \n\
        test result: FAILED. 2 passed; 1 failed; 0 ignored\n\
        zc-vm: end\n";

    #[test]
    fn hooks_and_tests_are_cases() {
        let results = read(JOB);
        assert!(results.ended);
        assert_eq!(outcome(&results, "check", "sys_exit"), Some(Outcome::Passed));
        let missing = outcome(&results, "check", "io_uring_submit_req");
        assert_eq!(missing, Some(Outcome::Failed("unknown BTF type `x`".to_owned())));
        assert_eq!(outcome(&results, "exact", "one"), Some(Outcome::Passed));
        assert_eq!(outcome(&results, "exact", "three"), Some(Outcome::Skipped("no such program".to_owned())));
        let Some(Outcome::Failed(said)) = outcome(&results, "exact", "two") else { panic!("two has failed") };
        assert!(said.contains("1 differences"), "{said}");
    }

    #[test]
    fn what_the_kernel_made_of_the_programs_is_read_and_judged() {
        let mut results = read(JOB);
        assert_eq!(results.programs.keys().collect::<Vec<_>>(), ["zc_sys_exit"]);
        let judgement = |program: &str, is_growth| Judgement {
            program: program.to_owned(),
            is_growth,
            said: "1 -> 2".to_owned(),
        };
        results.add_judgements(vec![judgement("zc_sys_exit", true), judgement("zc_exec", false)]);
        assert_eq!(outcome(&results, VERIFIER, "zc_exec"), Some(Outcome::Passed));
        let Some(Outcome::Failed(said)) = outcome(&results, VERIFIER, "zc_sys_exit") else {
            panic!("it has grown")
        };
        assert!(said.starts_with("1 -> 2; "), "{said}");
    }

    #[test]
    fn a_machine_that_stopped_half_way_has_not_ended() {
        assert!(!read("zc-vm: begin exact\ntest one ... ").ended);
    }
}
