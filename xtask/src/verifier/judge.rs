//! Comparing what a kernel makes of the programs with the record.

use super::record::{Measured, Record, Size};

/// How much more than the record is taken for growth, in percent; less may come with a fix of the kernel's.
const PERCENT: u64 = 5;

/// What is to be said about a program.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Judgement {
    pub(crate) program: String,
    /// It has grown, or is new.
    pub(crate) is_growth: bool,
    pub(crate) said: String,
}

/// Judges each program by the record of the kernel's series; nothing when that has no record.
///
/// A program that is not there is none of our business: `zc check` says which hook is missing and why.
pub(crate) fn judge(record: &Record, measured: &Measured) -> Vec<Judgement> {
    let Some(recorded) = record.of(&measured.version) else { return Vec::new() };
    let judgement = |(program, now): (&String, &Size)| match recorded.programs.get(program) {
        Some(before) => compare(program, *before, *now),
        None => {
            Judgement { program: program.clone(), is_growth: true, said: format!("{now}; not on record") }
        }
    };
    measured.programs.iter().map(judgement).collect()
}

fn compare(program: &str, before: Size, now: Size) -> Judgement {
    let instructions = Change { before: before.instructions, now: now.instructions };
    let bytes = Change { before: before.bytes, now: now.bytes };
    Judgement {
        program: program.to_owned(),
        is_growth: instructions.is_growth() || bytes.is_growth(),
        said: format!(
            "{} instructions verified, {} bytes of machine code",
            instructions.shown(),
            bytes.shown()
        ),
    }
}

struct Change {
    before: u64,
    now: u64,
}

impl Change {
    const fn is_growth(&self) -> bool {
        self.now * 100 > self.before * (100 + PERCENT)
    }

    /// `206`, or `206 -> 300 (+46 %)`.
    fn shown(&self) -> String {
        let Self { before, now } = *self;
        if before == now {
            return now.to_string();
        }
        let percent = |more: u64| (more * 100).div_ceil(before.max(1));
        let change = if now > before {
            format!("+{} %", percent(now - before))
        } else {
            format!("-{} %", percent(before - now))
        };
        format!("{before} -> {now} ({change})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(instructions: u64, bytes: u64) -> Judgement {
        let text = "| program | 6.18 |\n|---|---:|\n| kernel | 6.18.1 |\n| `zc_exec` | 1000 / 200 |\n";
        let record = Record::read(text).expect("a table");
        let programs = [("zc_exec".to_owned(), Size { instructions, bytes })].into();
        let measured = Measured { version: "6.18.44".to_owned(), programs };
        judge(&record, &measured).remove(0)
    }

    #[test]
    fn five_percent_are_no_growth_and_one_more_is() {
        assert!(!judged(1050, 210).is_growth);
        assert!(judged(1051, 210).is_growth);
        assert!(judged(1050, 211).is_growth);
        assert!(!judged(1, 1).is_growth);
    }

    #[test]
    fn both_numbers_are_said_with_what_they_were() {
        let said = judged(1500, 200).said;
        assert_eq!(said, "1000 -> 1500 (+50 %) instructions verified, 200 bytes of machine code");
    }

    #[test]
    fn a_program_that_is_not_on_record_counts_as_growth() {
        let record = Record::read("| program | 6.18 |\n|---|---:|\n| kernel | 6.18.1 |\n").expect("a table");
        let programs = [("zc_new".to_owned(), Size { instructions: 1, bytes: 1 })].into();
        let mut measured = Measured { version: "6.18.44".to_owned(), programs };
        assert!(judge(&record, &measured)[0].is_growth);
        // A series without a record has nothing to be compared with.
        measured.version = "6.19.1".to_owned();
        assert_eq!(judge(&record, &measured), []);
    }
}
