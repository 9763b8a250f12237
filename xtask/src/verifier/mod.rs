//! What the verifier makes of the programs: how many instructions it goes through, and how much machine code comes out.
//!
//! The first is most of the time that a start of zc takes, and ends at a million (`BPF_COMPLEXITY_LIMIT_INSNS`); a small
//! change can multiply it. So both are on record by series of kernels, in `docs/verifier.md`, and what grows is seen.

mod judge;
mod record;

use std::{
    fs,
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, bail, ensure};

pub(crate) use self::{
    judge::{Judgement, judge},
    record::{Measured, Programs, Record, line},
};
use crate::{
    cli::VerifierOptions,
    launch,
    process::{self, say},
    tally::Tally,
    vm,
    workspace::Workspace,
};

/// The record, and what is said about it.
const FILE: &str = "docs/verifier.md";

/// What to do about growth that is meant.
pub(crate) const ADVICE: &str = "if it is meant to be, `cargo xtask verifier --record` puts it on record";

/// `(6, 12)` of `6.12.117+deb12`: kernels of a series have the same verifier, but for fixes.
pub(crate) fn series(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split(|other: char| !other.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Compares the running kernel, and others, with the record; or puts them on record.
pub(crate) fn run(workspace: &Workspace, options: &VerifierOptions) -> Result<ExitCode> {
    let mut record = read(workspace)?;
    launch::build_zc(workspace)?;
    let mut all = vec![here(workspace)?];
    if !options.no_vm {
        all.extend(vm::measure(workspace)?);
    }
    let mut grown = false;
    for measured in &all {
        println!("Linux {}", measured.version);
        let judgements = judge(&record, measured);
        if judgements.is_empty() {
            println!("  not on record:");
            for (program, size) in &measured.programs {
                println!("  {program:<22} {size}");
            }
        }
        for judgement in judgements {
            println!("  {:<22} {}", judgement.program, judgement.said);
            grown |= judgement.is_growth;
        }
    }
    if options.record {
        for measured in all {
            record.set(measured)?;
        }
        return write(workspace, &record).map(|()| ExitCode::SUCCESS);
    }
    if grown {
        say(ADVICE);
    }
    Ok(if grown { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Compares the running kernel with the record, for `cargo xtask test`, which has built zc.
pub(crate) fn test(workspace: &Workspace) -> Result<Tally> {
    let mut tally = Tally::default();
    for judgement in judged(workspace, &here(workspace)?)? {
        if judgement.is_growth {
            tally.failed += 1;
            say(format!("{}: {}; {ADVICE}", judgement.program, judgement.said));
        } else {
            tally.passed += 1;
        }
    }
    Ok(tally)
}

/// Compares with the record; says so when the kernel is not in it.
pub(crate) fn judged(workspace: &Workspace, measured: &Measured) -> Result<Vec<Judgement>> {
    let judgements = judge(&read(workspace)?, measured);
    if judgements.is_empty() {
        say(format!("{FILE} has nothing on Linux {}: growth of the programs is not seen", measured.version));
    }
    Ok(judgements)
}

/// Has zc load its programs here.
fn here(workspace: &Workspace) -> Result<Measured> {
    if !process::is_root() {
        bail!("root is needed to load the programs");
    }
    let zc = workspace.release_bin("zc");
    let said = process::output(Command::new(zc).args(["check", "--verbose", "--color", "never"]))?;
    let version = fs::read_to_string("/proc/sys/kernel/osrelease").context("ask for the kernel's version")?;
    let programs: Programs = said.lines().filter_map(line).collect();
    ensure!(!programs.is_empty(), "`zc check --verbose` says nothing of the programs' sizes");
    Ok(Measured { version: version.trim().to_owned(), programs })
}

fn read(workspace: &Workspace) -> Result<Record> {
    let path = workspace.root().join(FILE);
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    Record::read(&text).with_context(|| format!("read the table of {FILE}"))
}

fn write(workspace: &Workspace, record: &Record) -> Result<()> {
    let path = workspace.root().join(FILE);
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    process::replace_file(&path, record.written_into(&text).as_bytes())?;
    say(format!("{FILE} is up to date"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_series_is_the_first_two_numbers() {
        assert_eq!(series("6.12.117+deb12"), Some((6, 12)));
        assert_eq!(series("6.18-rc3"), Some((6, 18)));
        assert_eq!(series("next"), None);
    }

    #[test]
    fn the_committed_record_is_in_the_form_that_is_written() {
        const TEXT: &str = include_str!("../../../docs/verifier.md");
        let record = Record::read(TEXT).expect("a table");
        assert_eq!(record.written_into(TEXT), TEXT);
    }
}
