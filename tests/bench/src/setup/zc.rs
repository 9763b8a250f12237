//! `zc run`, of the workload or of something else.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::{
    bench::Bench,
    process::Running,
    subject::{Measured, Pace},
    work::{READY, Work},
};

/// What zc counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mode {
    /// Calls of every kind, by one program at the end of them all.
    AllCalls,
    /// The calls that move bytes alone.
    DataCalls,
}

impl Mode {
    /// The hook that sees the ends of calls.
    const fn hook(self) -> &'static str {
        match self {
            Self::AllCalls => "sys_exit",
            Self::DataCalls => "syscalls:sys_exit_*",
        }
    }

    /// `zc run` with a report to a file, up to the command.
    pub(crate) fn words<'a>(self, zc: &'a str, report: &'a str) -> Vec<&'a str> {
        let mut words = vec![zc, "run", "-q", "--format", "json", "-o", report];
        if self == Self::DataCalls {
            words.push("--no-count-calls");
        }
        words.push("--");
        words
    }
}

/// Measures a traced process, and holds the report to what it did.
pub(super) fn traced(bench: &mut Bench, mode: Mode, work: Work) -> Result<Measured> {
    let path = bench.dir().join("report.json");
    let (zc, file) = (bench.zc().to_string_lossy().into_owned(), path.to_string_lossy().into_owned());
    let measured = bench.measure(&mode.words(&zc, &file), work, Pace::Usual)?;
    let report = read(&path, mode)?;
    check(&report, mode, work, &measured)?;
    warn_of_losses(bench, &report, work.name());
    Ok(measured)
}

/// Notes what a report says was lost.
pub(crate) fn warn_of_losses(bench: &mut Bench, report: &Value, what: &str) {
    for (name, count) in report["lost"].as_object().into_iter().flatten() {
        if count.as_u64() != Some(0) {
            bench.warn(format!("zc lost something in {what}: {name} {count}"));
        }
    }
}

/// Measures processes beside a traced one that does nothing.
pub(super) fn beside(bench: &Bench, mode: Mode, works: &[Work]) -> Result<Vec<(Work, Measured)>> {
    let path = bench.dir().join("report.json");
    let (zc, file) = (bench.zc().to_string_lossy().into_owned(), path.to_string_lossy().into_owned());
    let mut command = std::process::Command::new(bench.zc());
    command.args(&mode.words(&zc, &file)[1..]).arg(bench.own_program()).args(["work", "wait"]);
    let mut running = Running::start(command, true)?;
    running.wait_for_line(READY)?;
    let values = super::each(works, |work| bench.measure(&[], work, Pace::Usual))?;
    running.finish()?;
    let report = read(&path, mode)?;
    let processes = report["processes"].as_array().map_or(0, Vec::len);
    ensure!(processes == 1, "zc reports {processes} processes where one was traced");
    Ok(values)
}

/// Reads a report, which must have been made in this mode.
pub(crate) fn read(path: &Path, mode: Mode) -> Result<Value> {
    let report: Value = serde_json::from_slice(&fs::read(path).context("read zc's report")?)?;
    fs::remove_file(path)?;
    let hooks = report["hooks"].as_array().context("zc's report has no hooks")?;
    let attached = |hook: &Value| hook["name"] == mode.hook() && hook["status"] == "attached";
    ensure!(hooks.iter().any(attached), "zc did not attach {}", mode.hook());
    Ok(report)
}

/// The processes of a report.
fn processes(report: &Value) -> Result<&Vec<Value>> {
    report["processes"].as_array().context("zc's report has no processes")
}

/// Bytes of all rows with this path, source and destination.
pub(crate) fn bytes_of(report: &Value, row: [&str; 3]) -> Result<u64> {
    let rows = processes(report)?.iter().filter_map(|process| process["paths"].as_array()).flatten();
    let rows = rows.filter(|it| [&it["path"], &it["source"], &it["destination"]] == row);
    Ok(rows.filter_map(|row| row["bytes"].as_u64()).sum())
}

/// What zc reports must be what the workload did.
fn check(report: &Value, mode: Mode, work: Work, measured: &Measured) -> Result<()> {
    let processes = processes(report)?;
    let faults: u64 = processes.iter().filter_map(|process| process["page_faults"]["minor"].as_u64()).sum();
    let expected = measured.times * work.faults();
    ensure!(faults >= expected, "zc counted {faults} of {expected} page faults");
    let row = match work {
        Work::Touch => return Ok(()),
        Work::TouchFile => ["mmap", "file", "memory"],
        Work::Read => ["read", "device", "memory"],
        Work::Relay => ["read+write", "file", "file"],
        Work::Sendfile => ["sendfile", "file", "tcp"],
        Work::Getppid => {
            let counted = processes.iter().filter_map(|process| process["syscalls"].as_u64()).max();
            return match (mode, counted) {
                (Mode::AllCalls, Some(counted)) if counted >= measured.times => Ok(()),
                (Mode::DataCalls, None) if !processes.is_empty() => Ok(()),
                (_, counted) => bail!("zc counted {counted:?} of {} calls", measured.times),
            };
        }
    };
    let bytes = bytes_of(report, row)?;
    let expected = measured.times * work.bytes();
    // A program maps its own files, too.
    let is_right = if work == Work::TouchFile { bytes >= expected } else { bytes == expected };
    ensure!(is_right, "zc reports {bytes} bytes of {} where {expected} were moved", row[0]);
    Ok(())
}
