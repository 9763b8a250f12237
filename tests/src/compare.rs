//! A report against the truth.

use std::{fmt::Write as _, fs};

use crate::{
    expect::{Expectation, Flow, Kind, Row as Expected},
    machine,
    report::{Process, Report, Row},
    zc::Traced,
};

/// Faults and switches between a worker's own last look and its end: the way out of the last call, one call
/// to leave, perhaps one page of code for it, and at most one preemption or two. Each further thread has its
/// own way out, of which the worker may not have seen the last steps.
fn slack(expected: &Expectation) -> u64 {
    16 + 4 * expected.threads
}

/// Every process of a fixture is in the report as it was, and nothing was lost.
pub fn assert_exact(name: &str, traced: &Traced, expected: &Expectation) {
    let report = &traced.report;
    let mut wrong: Vec<String> =
        expected.all().iter().flat_map(|process| differences(report, process)).collect();
    wrong.extend(report.losses().iter().map(|(name, count)| format!("lost: {name} is {count}")));
    if wrong.is_empty() {
        return;
    }
    let kept = machine::target_tmp().join(format!("failed-{name}.json"));
    fs::write(&kept, &traced.json).expect("keeping the report");
    let mut text = format!("{name}: {} differences (the report is kept in {}):", wrong.len(), kept.display());
    for line in wrong.iter().take(30) {
        write!(text, "\n  {line}").expect("writing to a string");
    }
    panic!("{text}");
}

/// What is wrong about one process.
pub fn differences(report: &Report, expected: &Expectation) -> Vec<String> {
    let pid = expected.pid;
    let found: Vec<_> = report.processes.iter().filter(|process| process.pid == pid).collect();
    let [process] = found[..] else {
        return vec![format!("{pid}: {} processes in the report have this id", found.len())];
    };
    let mut wrong = Vec::new();
    rows(process, expected, &mut wrong);
    if !expected.execs {
        conservation(process, expected, &mut wrong);
    }
    counters(process, expected, &mut wrong);
    for flow in &expected.flows {
        flow_bytes(report, pid, flow, &mut wrong);
    }
    wrong.iter().map(|line| format!("{pid} {}: {line}", process.comm)).collect()
}

fn rows(process: &Process, expected: &Expectation, wrong: &mut Vec<String>) {
    for row in &expected.rows {
        let ends = format!("{} {:?} to {:?}", row.path, row.source, row.destination);
        match process.row(&row.path, row.source, row.destination) {
            None => {
                wrong.push(format!("{ends} is missing; it has {} bytes, {} calls", row.bytes, row.syscalls));
            }
            Some(found) if expected.execs => {
                if found.bytes < row.bytes || found.syscalls < row.syscalls {
                    wrong.push(format!(
                        "{ends}: {} bytes and {} calls are too few",
                        found.bytes, found.syscalls
                    ));
                }
            }
            Some(found) => {
                wrong.extend(row_differences(found, row).iter().map(|line| format!("{ends}: {line}")));
            }
        }
    }
    if expected.execs {
        return;
    }
    for row in &process.paths {
        if expected.row(&row.path, row.source, row.destination).is_none() {
            let (path, source, destination) = (&row.path, row.source, row.destination);
            wrong.push(format!("{path} {source:?} to {destination:?} never happened: {} bytes", row.bytes));
        }
    }
}

fn row_differences(found: &Row, row: &Expected) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut same = |what: &str, is: Option<u64>, should: Option<u64>| {
        if should.is_some() && is != should {
            wrong.push(format!("{what} is {is:?} and should be {should:?}"));
        }
    };
    same("bytes", Some(found.bytes), Some(row.bytes));
    same("syscalls", Some(found.syscalls), Some(row.syscalls));
    same("transfers", Some(found.transfers), row.transfers);
    same("page_faults.minor", found.page_faults.minor, row.minor);
    same("context_switches.voluntary", found.context_switches.voluntary, row.voluntary);
    same("mode_switches", found.mode_switches, Some(2 * row.syscalls));
    if found.via != "syscall" {
        wrong.push(format!("via is {}", found.via));
    }
    copies(found, &mut wrong);
    wrong
}

/// What may be said of the copies before anything in the kernel is witnessed.
fn copies(row: &Row, wrong: &mut Vec<String>) {
    let copied = row.cpu_copied_bytes.unwrap_or(0);
    let mut must = |holds: bool, what: &str| {
        if !holds {
            wrong.push(format!("{what} (copied {:?} unknown {:?})", row.cpu_copied_bytes, row.unknown_bytes));
        }
    };
    must(row.verdict != "zero-copy", "zero-copy is never inferred");
    must(row.by_reference_bytes.unwrap_or(0) == 0, "nothing is known to be handed on by reference");
    if row.bytes == 0 {
        return;
    }
    // What a device or an event counter does with bytes is its own affair.
    let plain = |kind| !matches!(kind, Kind::Device | Kind::Other | Kind::Unknown);
    if !(plain(row.source) && plain(row.destination)) {
        return;
    }
    match row.path.as_str() {
        "read" | "write" => must(copied == row.bytes && row.verdict == "copied", "a leg is copied once"),
        "read+write" => must(copied == 2 * row.bytes && row.verdict == "copied", "a relay is copied twice"),
        _ => must(
            copied == 0 && row.unknown_bytes == Some(row.bytes) && row.verdict == "unknown",
            "copies within the kernel are not known",
        ),
    }
    must(row.evidence == "inferred", "evidence is inferred");
}

fn conservation(process: &Process, expected: &Expectation, wrong: &mut Vec<String>) {
    if process.bytes_read() != expected.rchar {
        wrong.push(format!("rows have {} bytes read, rchar is {}", process.bytes_read(), expected.rchar));
    }
    if process.bytes_written() != expected.wchar {
        wrong.push(format!(
            "rows have {} bytes written, wchar is {}",
            process.bytes_written(),
            expected.wchar
        ));
    }
}

fn counters(process: &Process, expected: &Expectation, wrong: &mut Vec<String>) {
    let slack = slack(expected);
    let Process { page_faults, context_switches, .. } = process;
    for (what, is, least) in [
        ("page_faults.minor", page_faults.minor, expected.minor),
        ("page_faults.major", page_faults.major, expected.major),
        ("context_switches.voluntary", context_switches.voluntary, expected.voluntary),
        ("context_switches.involuntary", context_switches.involuntary, expected.involuntary),
    ] {
        if !is.is_some_and(|is| (least..=least + slack).contains(&is)) {
            wrong.push(format!("{what} is {is:?}, was {least} just before the end"));
        }
    }
    let calls = process.syscalls.unwrap_or(0);
    if calls < process.data_calls() {
        wrong.push(format!("{calls} system calls, {} of them data calls", process.data_calls()));
    }
    if process.mode_switches.syscall != Some(2 * calls) {
        wrong.push(format!("mode_switches.syscall is {:?} for {calls} calls", process.mode_switches.syscall));
    }
    let within = |count: fn(&Row) -> Option<u64>| process.paths.iter().filter_map(count).sum::<u64>();
    for (what, rows, whole) in [
        ("minor faults", within(|row| row.page_faults.minor), page_faults.minor),
        ("voluntary switches", within(|row| row.context_switches.voluntary), context_switches.voluntary),
        (
            "involuntary switches",
            within(|row| row.context_switches.involuntary),
            context_switches.involuntary,
        ),
    ] {
        if whole.is_some_and(|whole| rows > whole) {
            wrong.push(format!("the rows have {rows} {what}, the process {whole:?}"));
        }
    }
}

fn flow_bytes(report: &Report, pid: u32, flow: &Flow, wrong: &mut Vec<String>) {
    let Flow { path, source, destination, bytes } = flow;
    let found = report.flow_bytes(Some(pid), path, source.as_deref(), destination.as_deref());
    if found != *bytes {
        wrong.push(format!("flow {path} {source:?} to {destination:?}: {found} bytes, should be {bytes}"));
    }
}
