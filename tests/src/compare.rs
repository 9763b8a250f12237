//! A report against the truth.

mod inside;

use std::{fmt::Write as _, fs};

use self::inside::Inside;
use crate::{
    expect::{Expectation, Flow, Kind, Mapped, Row as Expected, Said},
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
    assert_exact_but(name, traced, expected, &[]);
}

/// The same, where some losses may be declared. Flows are not compared when some of them overflowed.
pub fn assert_exact_but(name: &str, traced: &Traced, expected: &Expectation, allowed: &[&str]) {
    assert_all(name, traced, expected, allowed, Claims::Exact);
}

/// The same, but of what became of the bytes it may be said that it is not known.
pub fn assert_true_but(name: &str, traced: &Traced, expected: &Expectation, allowed: &[&str]) {
    assert_all(name, traced, expected, allowed, Claims::True);
}

/// Why bytes are unknown that no device was seen to be given.
pub(crate) const UNSEEN: &str = "not witnessed: no device was given these bytes while zc watched";

/// How often a case may be run that [`is_true_but_unseen`].
pub const RUNS: u32 = 3;

/// Whether all that is said is true, and something is unknown because no device was seen to be given it.
///
/// That happens where an interrupt sends in the time of a process for which the kernel runs no BPF programs: the kernel's
/// own event trace has these segments, and neither zc nor bpftrace beside it has (Linux 6.18).
pub fn is_true_but_unseen(traced: &Traced, expected: &Expectation, allowed: &[&str]) -> bool {
    let report = &traced.report;
    let is_unseen = |row: &Row| row.reason.as_deref() == Some(UNSEEN);
    let all = expected.all();
    let of_it = report.processes.iter().filter(|process| all.iter().any(|truth| truth.pid == process.pid));
    of_it.flat_map(|process| &process.paths).any(is_unseen)
        && all.iter().any(|process| !differences(report, process).is_empty())
        && report.losses().iter().all(|(name, _)| allowed.contains(name))
        && all.into_iter().all(|process| differences_of(report, process, Claims::True).is_empty())
}

/// How a report is held to what an expectation says of copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claims {
    /// All of it must be said.
    Exact,
    /// Nothing else may be said.
    True,
}

/// What a process's rows are held to.
#[derive(Clone, Copy)]
struct Held {
    claims: Claims,
    inside: Inside,
    /// What is copied out of sockets is seen.
    sees_received: bool,
}

fn assert_all(name: &str, traced: &Traced, expected: &Expectation, allowed: &[&str], claims: Claims) {
    let mut expected = expected.clone();
    if allowed.contains(&"flows_overflow") && traced.report.lost("flows_overflow") > 0 {
        expected.flows.clear();
    }
    let differs = |process| differences_of(&traced.report, process, claims);
    let mut wrong: Vec<String> = expected.all().into_iter().flat_map(differs).collect();
    let losses = traced.report.losses();
    let forbidden = losses.iter().filter(|(name, _)| !allowed.contains(name));
    wrong.extend(forbidden.map(|(name, count)| format!("lost: {name} is {count}")));
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
    differences_of(report, expected, Claims::Exact)
}

fn differences_of(report: &Report, expected: &Expectation, claims: Claims) -> Vec<String> {
    let pid = expected.pid;
    let found: Vec<_> = report.processes.iter().filter(|process| process.pid == pid).collect();
    let [process] = found[..] else {
        return vec![format!("{pid}: {} processes in the report have this id", found.len())];
    };
    let mut wrong = Vec::new();
    let sees_received =
        report.hooks.iter().any(|hook| hook.name == "skb_copy_datagram_iovec" && hook.status == "attached");
    let held = Held { claims, inside: Inside::of(report, expected), sees_received };
    rows(process, expected, held, &mut wrong);
    if !expected.execs {
        conservation(process, expected, &mut wrong);
    }
    counters(process, expected, &mut wrong);
    storage(process, expected, &mut wrong);
    for flow in &expected.flows {
        flow_bytes(report, pid, flow, &mut wrong);
    }
    for file in &expected.mapped {
        mapped(report, pid, file, &mut wrong);
    }
    wrong.iter().map(|line| format!("{pid} {}: {line}", process.comm)).collect()
}

fn rows(process: &Process, expected: &Expectation, held: Held, wrong: &mut Vec<String>) {
    for row in &expected.rows {
        let ends = format!("{} {:?} to {:?}", row.path, row.source, row.destination);
        match process.row_via(&row.via, &row.path, row.source, row.destination) {
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
                let lines = row_differences(found, row, held);
                wrong.extend(lines.iter().map(|line| format!("{ends}: {line}")));
            }
        }
    }
    if expected.execs {
        return;
    }
    // What a program maps beside what was planned is its own code and that of its libraries.
    for row in process.paths.iter().filter(|row| row.path != "mmap") {
        if expected.row_via(&row.via, &row.path, row.source, row.destination).is_none() {
            let (path, source, destination) = (&row.path, row.source, row.destination);
            wrong.push(format!("{path} {source:?} to {destination:?} never happened: {} bytes", row.bytes));
        }
    }
}

fn row_differences(found: &Row, row: &Expected, held: Held) -> Vec<String> {
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
    same("rchar_bytes", Some(found.rchar_bytes), Some(row.rchar));
    same("wchar_bytes", Some(found.wchar_bytes), Some(row.wchar));
    let said = row.said != Said::default();
    if said && held.claims == Claims::True {
        false_claims(found, &row.said, &mut wrong);
        return wrong;
    }
    let Said { copied, by_reference, unknown, device_read, verdict, evidence, reason } = &row.said;
    same("cpu_copied_bytes", found.cpu_copied_bytes, *copied);
    same("by_reference_bytes", found.by_reference_bytes, *by_reference);
    same("unknown_bytes", found.unknown_bytes, *unknown);
    same("device_read_bytes", found.device_read_bytes, *device_read);
    for (what, is, should) in [("verdict", &found.verdict, verdict), ("evidence", &found.evidence, evidence)]
    {
        if should.as_ref().is_some_and(|should| is != should) {
            wrong.push(format!("{what} is {is} and should be {should:?}"));
        }
    }
    if reason.is_some() && found.reason != *reason {
        wrong.push(format!("reason is {:?} and should be {reason:?}", found.reason));
    }
    if (copied, by_reference, unknown) == (&None, &None, &None) {
        copies(found, held, &mut wrong);
    }
    wrong
}

/// What is said of the copies and is not so. What the kernel only reports may be wrong; the verdict may not.
fn false_claims(found: &Row, truth: &Said, wrong: &mut Vec<String>) {
    let verdict = truth.verdict.as_deref().unwrap_or("unknown");
    if found.verdict != "unknown" && found.verdict != verdict {
        wrong.push(format!("verdict is {} and should be {verdict} or unknown", found.verdict));
    }
    let most = |what: &str, is: Option<u64>, most: Option<u64>, wrong: &mut Vec<String>| {
        if most.is_some() && is > most {
            wrong.push(format!("{what} is {is:?}, and not more than {most:?} is true"));
        }
    };
    most("cpu_copied_bytes", found.cpu_copied_bytes, truth.copied, wrong);
    if found.evidence == "witnessed" {
        most("by_reference_bytes", found.by_reference_bytes, truth.by_reference, wrong);
    }
}

/// What must be said of the copies where a fixture says nothing: what leaves by TCP is witnessed, over loopback.
fn copies(row: &Row, held: Held, wrong: &mut Vec<String>) {
    if inside::rules(row) {
        wrong.extend(inside::differences(row, held.inside));
        return;
    }
    let copied = row.cpu_copied_bytes.unwrap_or(0);
    let mut must = |holds: bool, what: &str| {
        if !holds {
            wrong.push(format!("{what} (copied {:?} unknown {:?})", row.cpu_copied_bytes, row.unknown_bytes));
        }
    };
    let leaves = row.destination == Kind::Tcp && row.bytes != 0;
    if leaves && is_handed_on(row) {
        let all = row.cpu_copied_bytes == Some(0) && row.by_reference_bytes == Some(row.bytes);
        must(all && row.verdict == "zero-copy" && row.evidence == "witnessed", "pages are seen to leave");
        return;
    }
    let by_pages = matches!(row.path.as_str(), "sendfile" | "splice" | "tee" | "vmsplice");
    if leaves && by_pages && matches!(row.source, Kind::Pipe | Kind::Tcp | Kind::Unix) {
        // What came into the pages before may not be seen, as of requests in rings.
        let rest = row.by_reference_bytes.unwrap_or(0) + row.unknown_bytes.unwrap_or(0);
        must(copied == 0 && rest == row.bytes, "nobody copies what is handed on");
        return;
    }
    must(row.verdict != "zero-copy", "zero-copy is never inferred");
    must(row.by_reference_bytes.unwrap_or(0) == 0, "nothing is known to be handed on by reference");
    if row.bytes == 0 {
        return;
    }
    // What the driver of a terminal or device, or an event counter, does with bytes is its own affair.
    let plain = |kind| !matches!(kind, Kind::Tty | Kind::Device | Kind::Other | Kind::Unknown);
    if !(plain(row.source) && plain(row.destination)) {
        return;
    }
    match row.path.as_str() {
        "read" | "write" | "mmap+write" => {
            must(copied == row.bytes && row.verdict == "copied", "a leg is copied once");
        }
        "read+write" => must(copied == 2 * row.bytes && row.verdict == "copied", "a relay is copied twice"),
        _ => must(
            copied == 0 && row.unknown_bytes == Some(row.bytes) && row.verdict == "unknown",
            "what a driver or another device does is not known",
        ),
    }
    if held.sees_received
        && row.path == "read"
        && row.via == "syscall"
        && matches!(row.source, Kind::Tcp | Kind::Unix)
    {
        must(row.evidence == "witnessed", "what is copied out of a socket is seen");
        return;
    }
    // A copy to a connection is seen, but for one that has ended before; small datagrams are copied in another way.
    let may_be_seen = leaves && row.path != "read+write" || held.sees_received && row.source == Kind::Udp;
    must(row.evidence == "inferred" || may_be_seen && row.evidence == "witnessed", "evidence is inferred");
}

/// Whether pages of a file or of memory are handed on, which nobody has filled unseen.
fn is_handed_on(row: &Row) -> bool {
    let by_pages = matches!(row.path.as_str(), "sendfile" | "splice" | "vmsplice");
    by_pages && matches!(row.source, Kind::File | Kind::Memory)
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

/// Storage delivers for the whole process what the kernel says, and for the rows no more than that.
fn storage(process: &Process, expected: &Expectation, wrong: &mut Vec<String>) {
    let whole = process.device_read_bytes;
    if expected.read_bytes.is_some() && whole != expected.read_bytes {
        wrong.push(format!("device_read_bytes is {whole:?}, read_bytes is {:?}", expected.read_bytes));
    }
    // What a request in a ring had to wait for is not known by row.
    let calls = process.paths.iter().filter(|row| row.via == "syscall");
    let rows: Option<u64> = calls.map(|row| row.device_read_bytes).sum();
    if rows.is_none() || rows > whole {
        wrong.push(format!("the rows have {rows:?} bytes from storage, the process {whole:?}"));
    }
}

fn counters(process: &Process, expected: &Expectation, wrong: &mut Vec<String>) {
    let slack = slack(expected);
    // Where it was preempted often on its way, it is so while its memory is taken down, too.
    let preempted = slack + expected.involuntary / 4;
    let Process { page_faults, context_switches, .. } = process;
    for (what, is, least, slack) in [
        ("page_faults.minor", page_faults.minor, expected.minor, slack),
        ("page_faults.major", page_faults.major, expected.major, slack),
        ("context_switches.voluntary", context_switches.voluntary, expected.voluntary, slack),
        ("context_switches.involuntary", context_switches.involuntary, expected.involuntary, preempted),
    ] {
        if !is.is_some_and(|is| (least..=least + slack).contains(&is)) {
            wrong.push(format!("{what} is {is:?}, was {least} just before the end"));
        }
    }
    let calls = process.syscalls.unwrap_or(0);
    let least = process.data_calls() + expected.other_calls;
    if calls < least {
        wrong.push(format!("{calls} system calls, should be {least} at least"));
    }
    if process.exit_code != Some(0) {
        wrong.push(format!("exit_code is {:?}", process.exit_code));
    }
    if process.mode_switches.syscall != Some(2 * calls) {
        wrong.push(format!("mode_switches.syscall is {:?} for {calls} calls", process.mode_switches.syscall));
    }
    // What falls within a call on mapped memory is in the call's row and in the mapping's.
    let sum = |count: fn(&Row) -> Option<u64>, of_mappings: bool| {
        let rows = process.paths.iter().filter(|row| (row.path == "mmap") == of_mappings);
        rows.filter_map(count).sum::<u64>()
    };
    let within = |count: fn(&Row) -> Option<u64>| sum(count, false).max(sum(count, true));
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

fn mapped(report: &Report, pid: u32, file: &Mapped, wrong: &mut Vec<String>) {
    let name = Some(file.file.as_str());
    let direction = if file.written { "memory to" } else { "mapped" };
    let flows = report.flows.iter().filter(|flow| {
        let end = if file.written { &flow.destination } else { &flow.source };
        flow.pid == pid && flow.path == "mmap" && end.name.as_deref() == name
    });
    let found: Vec<_> = flows.collect();
    let [flow] = found[..] else {
        wrong.push(format!("{direction} {}: {} flows", file.file, found.len()));
        return;
    };
    let mut same = |what: &str, is: Option<u64>, should: Option<u64>| {
        if should.is_some() && is != should {
            wrong.push(format!("{direction} {}: {what} is {is:?} and should be {should:?}", file.file));
        }
    };
    let faults = flow.page_faults;
    let both = faults.minor.zip(faults.major).map(|(minor, major)| minor + major);
    same("bytes", Some(flow.bytes), Some(file.bytes));
    same("cpu_copied_bytes", flow.cpu_copied_bytes, Some(4096 * file.copied_pages));
    same("unknown_bytes", flow.unknown_bytes, Some(0));
    same("device_read_bytes", flow.device_read_bytes, file.device_read);
    same("syscalls", Some(flow.syscalls), Some(file.calls));
    same("page faults", both, file.faults);
    same("page_faults.major", faults.major, file.major);
    same("page_faults.copy_on_write", faults.copy_on_write, Some(file.copied_pages));
    let switches = both.map(|both| 2 * (file.calls + both - file.faults_in_calls));
    same("mode_switches", flow.mode_switches, switches);
    let verdict = match (file.written, file.bytes == 0, file.copied_pages * 4096) {
        (true, ..) | (false, true, _) => "unknown",
        (false, false, 0) => "zero-copy",
        (false, false, copied) if copied == file.bytes && faults.copy_on_write == both => "copied",
        (false, false, _) => "mixed",
    };
    if flow.verdict != verdict {
        wrong.push(format!("{direction} {}: verdict is {} and should be {verdict}", file.file, flow.verdict));
    }
}

#[cfg(test)]
mod tests;
