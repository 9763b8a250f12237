//! A report of a time that has passed, from the intervals in it.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
};

use jiff::{SignedDuration, Timestamp};
use zc_common::loss::Loss;

use super::{host::Host, read::Entry};
use crate::model::{
    account::{LOST_ROWS_UNKNOWN, LOST_UNPAIRED},
    interval::{Interval, ProcessChange, RowChange, RowName, TotalsChange, Who},
    report::{
        ContextSwitches, Figures, ModeSwitches, PageFaults, PathRow, Process, Report, Schema, SelfCost, Tool,
        Verdict, Window,
    },
    verdict::{Known, verdict},
};

/// Intervals are as long as the monotonic clock says and end when the other one says: they do not meet to the microsecond.
const TOLERANCE: SignedDuration = SignedDuration::from_secs(1);

/// What is known of a time that has passed.
#[derive(Clone, Debug, PartialEq)]
pub struct Past {
    /// The sums. Its window is from the beginning of the first interval to the end of the last one, gaps included; it has no flows and
    /// no hooks.
    pub report: Report,
    /// How long all intervals were together, in seconds. Rates are by this, not by the window.
    pub covered_seconds: f64,
    /// Times between `since` and `until` of which nothing is known: zc did not run.
    pub gaps: Vec<Gap>,
}

/// A time of which nothing is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// When it began.
    pub start: Timestamp,
    /// When it ended.
    pub end: Timestamp,
}

/// Adds up the intervals that ended after `since` and not after `until`: whole ones only. `None` when there is none.
pub fn report(entries: impl IntoIterator<Item = Entry>, since: Timestamp, until: Timestamp) -> Option<Past> {
    let mut sum = Sum::default();
    for Entry { host, interval } in entries {
        if interval.end > since && interval.end <= until {
            sum.add(host, interval);
        }
    }
    sum.past(since, until)
}

/// A process since a start of the machine: number of the boot, start, and id.
type ProcessKey = (usize, u64, u32);

#[derive(Default)]
struct Sum {
    hosts: Vec<Host>,
    spans: Vec<(Timestamp, Timestamp)>,
    lost: BTreeMap<String, u64>,
    processes: HashMap<ProcessKey, ProcessSum>,
}

#[derive(Default)]
struct ProcessSum {
    who: Who,
    exit_code: Option<i32>,
    totals: TotalsChange,
    rows: HashMap<RowName, RowSum>,
}

/// A sum, and what it does not show.
struct RowSum {
    sum: RowChange,
    /// The lowest that these sums were on the way, 0 at the beginning. So much at least was taken back of what was before the first
    /// interval, and as much of what is in the intervals is hidden by it. Nothing when the process began in the time that is summed.
    lowest: Lowest,
}

/// In bytes.
#[derive(Default)]
struct Lowest {
    copied: i64,
    by_reference: i64,
    unknown: i64,
}

impl Sum {
    fn add(&mut self, host: Host, interval: Interval) {
        let Interval { start, end, lost, processes } = interval;
        self.spans.push((start, end));
        for (counter, count) in lost {
            let all = self.lost.entry(counter).or_default();
            *all = all.saturating_add(count);
        }
        let boot = self.hosts.iter().rposition(|known| known.boot_id == host.boot_id);
        let boot = boot.unwrap_or(self.hosts.len());
        if boot == self.hosts.len() {
            self.hosts.push(host);
        }
        for process in processes {
            let key = (boot, process.who.start_ns, process.who.pid);
            self.processes.entry(key).or_default().add(process);
        }
    }

    fn past(mut self, since: Timestamp, until: Timestamp) -> Option<Past> {
        let host = self.hosts.last()?.of_report();
        self.spans.sort_unstable();
        let start = self.spans.first()?.0;
        let end = self.spans.iter().map(|&(_, end)| end).max()?;
        // A counter that did not grow is not kept; a report has all of them.
        let names = Loss::ALL.iter().map(|loss| loss.name()).chain([LOST_UNPAIRED, LOST_ROWS_UNKNOWN]);
        for name in names {
            self.lost.entry(name.to_owned()).or_default();
        }
        let mut processes: Vec<_> = self.processes.into_iter().collect();
        processes.sort_unstable_by_key(|&(key, _)| key);
        let processes = processes.into_iter().map(|((_, start_ns, pid), sum)| sum.process(pid, start_ns));
        let mut processes: Vec<_> = processes.collect();
        processes.sort_by_key(|process| Reverse(bytes_of(process)));
        Some(Past {
            report: Report {
                schema: Schema,
                tool: Tool::this(),
                host,
                window: Window { start, seconds: end.duration_since(start).as_secs_f64() },
                hooks: Vec::new(),
                sampling: None,
                lost: self.lost,
                self_cost: SelfCost::default(),
                processes,
                flows: Vec::new(),
                omitted: None,
            },
            covered_seconds: self.spans.iter().map(|span| length(*span).as_secs_f64()).sum(),
            gaps: gaps(&self.spans, since, until),
        })
    }
}

/// Files can say anything.
fn bytes_of(process: &Process) -> u64 {
    process.paths.iter().map(|row| row.figures.bytes).fold(0, u64::saturating_add)
}

fn length((start, end): (Timestamp, Timestamp)) -> SignedDuration {
    end.duration_since(start).max(SignedDuration::ZERO)
}

/// What no interval covers. At the end, what the next interval may still cover is no gap.
fn gaps(spans: &[(Timestamp, Timestamp)], since: Timestamp, until: Timestamp) -> Vec<Gap> {
    let mut gaps = Vec::new();
    let mut covered = since;
    let mut longest = SignedDuration::ZERO;
    for &(start, end) in spans {
        if start.duration_since(covered) > TOLERANCE {
            gaps.push(Gap { start: covered, end: start });
        }
        covered = covered.max(end);
        longest = longest.max(length((start, end)));
    }
    if until.duration_since(covered) > longest.saturating_add(TOLERANCE) {
        gaps.push(Gap { start: covered, end: until });
    }
    gaps
}

/// Adds what changed; what is not known of one of both is that of the other.
fn add_known(sum: &mut Option<i64>, more: Option<i64>) {
    if let Some(more) = more {
        *sum = Some(sum.unwrap_or(0).wrapping_add(more));
    }
}

impl ProcessSum {
    fn add(&mut self, process: ProcessChange) {
        let ProcessChange { who, exit_code, mut totals, rows } = process;
        self.who = who;
        self.exit_code = exit_code.or(self.exit_code);
        for (sum, more) in self.totals.numbers_mut().into_iter().zip(totals.numbers_mut()) {
            add_known(sum, *more);
        }
        for row in rows {
            self.rows.entry(row.name).and_modify(|sum| sum.add(row)).or_insert_with(|| RowSum::new(row));
        }
    }

    fn process(self, pid: u32, start_ns: u64) -> Process {
        let Self { who, exit_code, totals, rows } = self;
        let mut rows: Vec<_> = rows.into_values().filter(|row| !row.sum.is_nothing()).collect();
        let order = |name: &RowName| (name.path, name.via, name.source, name.destination);
        rows.sort_unstable_by_key(|row| order(&row.sum.name));
        let mut paths: Vec<_> = rows.iter().map(RowSum::row).collect();
        paths.sort_by_key(|row| Reverse(row.figures.bytes));
        let syscalls = totals.syscalls.map(clamp);
        Process {
            pid,
            ppid: who.ppid,
            start_ns,
            comm: who.comm,
            exe: who.exe,
            cmdline: who.cmdline,
            cgroup: who.cgroup,
            container: who.container,
            exit_code,
            syscalls,
            mode_switches: ModeSwitches {
                syscall: syscalls.map(|calls| calls.saturating_mul(2)),
                exception: totals.exception_mode_switches.map(clamp),
                interrupt: None,
            },
            context_switches: switches(totals.voluntary, totals.involuntary),
            page_faults: faults(totals.minor_faults, totals.major_faults),
            device_read_bytes: totals.device_read_bytes.map(clamp),
            paths,
        }
    }
}

/// Less than nothing happened only where what was known of an earlier time changed.
fn clamp(sum: i64) -> u64 {
    u64::try_from(sum).unwrap_or(0)
}

fn switches(voluntary: Option<i64>, involuntary: Option<i64>) -> Option<ContextSwitches> {
    let (voluntary, involuntary) = voluntary.map(clamp).zip(involuntary.map(clamp))?;
    Some(ContextSwitches { voluntary, involuntary })
}

fn faults(minor: Option<i64>, major: Option<i64>) -> Option<PageFaults> {
    let (minor, major) = minor.map(clamp).zip(major.map(clamp))?;
    Some(PageFaults { minor, major, copy_on_write: None })
}

impl RowSum {
    fn new(row: RowChange) -> Self {
        let mut new = Self { sum: row, lowest: Lowest::default() };
        new.note_lowest();
        new
    }

    fn note_lowest(&mut self) {
        let Self { sum, lowest } = self;
        for (lowest, sum) in [
            (&mut lowest.copied, sum.cpu_copied_bytes.unwrap_or(0)),
            (&mut lowest.by_reference, sum.by_reference_bytes.unwrap_or(0)),
            (&mut lowest.unknown, sum.unknown_bytes),
        ] {
            *lowest = sum.min(*lowest);
        }
    }

    fn add(&mut self, mut row: RowChange) {
        let sum = &mut self.sum;
        for (sum, more) in sum.numbers_mut().into_iter().zip(row.numbers_mut()) {
            *sum = sum.wrapping_add(*more);
        }
        for (sum, more) in sum.known_mut().into_iter().zip(row.known_mut()) {
            add_known(sum, *more);
        }
        // The best evidence is the least, and the last reason is the one that counts.
        sum.evidence = sum.evidence.max(row.evidence);
        sum.reason = sum.reason.max(row.reason);
        self.note_lowest();
    }

    fn row(&self) -> PathRow {
        let sum = &self.sum;
        let RowName { path, via, source, destination } = sum.name;
        let figures = Figures {
            transfers: clamp(sum.transfers),
            syscalls: clamp(sum.syscalls),
            bytes: clamp(sum.bytes),
            cpu_copied_bytes: sum.cpu_copied_bytes.map(clamp),
            by_reference_bytes: sum.by_reference_bytes.map(clamp),
            unknown_bytes: clamp(sum.unknown_bytes),
            device_read_bytes: sum.device_read_bytes.map(clamp),
            device_sent_bytes: None,
            mode_switches: clamp(sum.mode_switches),
            context_switches: switches(sum.voluntary, sum.involuntary),
            page_faults: faults(sum.minor_faults, sum.major_faults),
            seconds: None,
            verdict: self.verdict(),
            evidence: sum.evidence,
            reason: sum.reason,
            rchar_bytes: clamp(sum.rchar_bytes),
            wchar_bytes: clamp(sum.wchar_bytes),
        };
        PathRow { path, via, source, destination, figures }
    }

    fn verdict(&self) -> Verdict {
        let Self { sum, lowest } = self;
        let all = [
            Some(sum.transfers),
            Some(sum.syscalls),
            Some(sum.bytes),
            sum.cpu_copied_bytes,
            sum.by_reference_bytes,
            Some(sum.unknown_bytes),
            sum.device_read_bytes,
            Some(sum.mode_switches),
            sum.voluntary,
            sum.involuntary,
            sum.minor_faults,
            sum.major_faults,
            Some(sum.rchar_bytes),
            Some(sum.wchar_bytes),
        ];
        if all.into_iter().flatten().any(|sum| sum < 0) {
            return Verdict::Unknown;
        }
        // The numbers of the row are sums, but to say that there were none of some bytes because as many of an earlier time were taken
        // back would be wrong.
        let known = Known {
            bytes: clamp(sum.bytes),
            copied: sum.cpu_copied_bytes.map(|sum| above(sum, lowest.copied)),
            by_reference: sum.by_reference_bytes.map(|sum| above(sum, lowest.by_reference)),
            unknown: above(sum.unknown_bytes, lowest.unknown),
            evidence: sum.evidence,
        };
        verdict(&known)
    }
}

fn above(sum: i64, lowest: i64) -> u64 {
    clamp(sum.saturating_sub(lowest))
}

#[cfg(test)]
#[path = "sum_tests.rs"]
mod tests;
