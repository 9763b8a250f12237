//! What changed between two looks at the same session: what history keeps, and what counters are added up from.
//!
//! Numbers have a sign. What is known of bytes that were moved earlier may still change: a read that finds its write leaves the
//! row `read` for `read+write`, and bytes that were unknown turn out to have been copied. So a number of one interval can be
//! negative, and the sum over intervals is always what the last look said.

use std::collections::{BTreeMap, HashMap};

use jiff::{SignedDuration, Timestamp};
use zc_common::path::{Kind, Path};

use super::{
    reason::Reason,
    report::{Evidence, Figures, PathRow, Process, Report, Via},
};

/// What changed in a while.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Interval {
    /// When it began.
    pub start: Timestamp,
    /// When it ended.
    pub end: Timestamp,
    /// Losses in it, by counter; those that had none are left out.
    pub lost: BTreeMap<String, u64>,
    /// Processes of which anything changed.
    pub processes: Vec<ProcessChange>,
}

/// What changed of a process.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProcessChange {
    /// Who it is, as it was known at the end of the interval.
    pub who: Who,
    /// Its exit code when it ended in the interval, 128 + n after signal n.
    pub exit_code: Option<i32>,
    /// What it cost. `None` is what was not counted.
    pub totals: TotalsChange,
    /// What it moved, by path and kinds of ends; rows of which nothing changed are left out.
    pub rows: Vec<RowChange>,
}

/// Who a process is: as in [`Process`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "identity: as in ProcessSample")]
pub struct Who {
    pub pid: u32,
    pub ppid: Option<u32>,
    pub start_ns: u64,
    pub comm: Option<String>,
    pub exe: Option<String>,
    pub cmdline: Vec<String>,
    pub cgroup: Option<String>,
    pub container: Option<String>,
}

/// Totals of a process's threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TotalsChange {
    /// System calls of every kind.
    pub syscalls: Option<i64>,
    /// Page faults taken in user mode, twice: crossings both ways.
    pub exception_mode_switches: Option<i64>,
    /// Times that a thread blocked.
    pub voluntary: Option<i64>,
    /// Times that a thread was preempted.
    pub involuntary: Option<i64>,
    /// Page faults without storage I/O.
    pub minor_faults: Option<i64>,
    /// Page faults with storage I/O.
    pub major_faults: Option<i64>,
    /// Bytes that storage had to deliver.
    pub device_read_bytes: Option<i64>,
}

/// Which row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RowName {
    /// The kernel mechanism.
    pub path: Path,
    /// How the kernel was asked.
    pub via: Via,
    /// Where from.
    pub source: Kind,
    /// Where to.
    pub destination: Kind,
}

/// What changed of a row. The meaning of each number is that of the same field of [`Figures`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "numbers: as in Figures")]
pub struct RowChange {
    pub name: RowName,
    pub transfers: i64,
    pub syscalls: i64,
    pub bytes: i64,
    pub cpu_copied_bytes: Option<i64>,
    pub by_reference_bytes: Option<i64>,
    pub unknown_bytes: i64,
    pub device_read_bytes: Option<i64>,
    pub mode_switches: i64,
    pub voluntary: Option<i64>,
    pub involuntary: Option<i64>,
    pub minor_faults: Option<i64>,
    pub major_faults: Option<i64>,
    pub rchar_bytes: i64,
    pub wchar_bytes: i64,
    /// How what is known of the row is known, at the end of the interval and of all that it moved by then.
    pub evidence: Evidence,
    /// Why, at the end of the interval.
    pub reason: Option<Reason>,
}

impl Interval {
    /// What happened from one look to a later one of the same session, which was taken at `end`; without an earlier one, everything
    /// in the later one. How long it was is by the monotonic clock, whatever was done to the other one in the meantime.
    pub fn between(earlier: Option<&Report>, later: &Report, end: Timestamp) -> Self {
        let before: HashMap<_, _> = earlier
            .iter()
            .flat_map(|report| &report.processes)
            .map(|process| (id(process), process))
            .collect();
        let nothing = BTreeMap::new();
        let lost_before = earlier.map_or(&nothing, |report| &report.lost);
        let lost = later.lost.iter().filter_map(|(name, &count)| {
            let more = count.saturating_sub(lost_before.get(name).copied().unwrap_or(0));
            (more > 0).then(|| (name.clone(), more))
        });
        let processes = later.processes.iter().filter_map(|process| {
            let change = ProcessChange::between(before.get(&id(process)).copied(), process);
            (!change.is_nothing()).then_some(change)
        });
        let seconds = later.window.seconds - earlier.map_or(0.0, |report| report.window.seconds);
        Self { start: before_by(end, seconds), end, lost: lost.collect(), processes: processes.collect() }
    }
}

/// A point in time so many seconds before another one.
fn before_by(end: Timestamp, seconds: f64) -> Timestamp {
    let duration = SignedDuration::try_from_secs_f64(seconds).unwrap_or_default();
    end.checked_sub(duration).unwrap_or(end)
}

fn id(process: &Process) -> (u32, u64) {
    (process.pid, process.start_ns)
}

/// A difference; that of what is not known is none.
fn change(earlier: u64, later: u64) -> i64 {
    later.wrapping_sub(earlier).cast_signed()
}

/// The same of what may not have been counted; what was not known before counts from zero.
fn change_of(earlier: Option<u64>, later: Option<u64>) -> Option<i64> {
    match (earlier, later) {
        (None, None) => None,
        (earlier, later) => Some(change(earlier.unwrap_or(0), later.unwrap_or(0))),
    }
}

impl ProcessChange {
    fn between(earlier: Option<&Process>, later: &Process) -> Self {
        let rows = later.paths.iter().filter_map(|row| {
            let before = earlier.and_then(|process| process.paths.iter().find(|old| name(old) == name(row)));
            let change = RowChange::between(before.map(|row| &row.figures), row);
            (!change.is_nothing()).then_some(change)
        });
        // A row can go away: all reads of it found their writes.
        let gone = earlier
            .iter()
            .flat_map(|process| &process.paths)
            .filter(|old| !later.paths.iter().any(|row| name(row) == name(old)));
        let gone = gone.map(RowChange::of_one_that_is_gone);
        Self {
            who: Who {
                pid: later.pid,
                ppid: later.ppid,
                start_ns: later.start_ns,
                comm: later.comm.clone(),
                exe: later.exe.clone(),
                cmdline: later.cmdline.clone(),
                cgroup: later.cgroup.clone(),
                container: later.container.clone(),
            },
            exit_code: later.exit_code.filter(|_| earlier.is_none_or(|process| process.exit_code.is_none())),
            totals: TotalsChange::between(earlier, later),
            rows: rows.chain(gone).collect(),
        }
    }

    /// Nothing changed.
    pub fn is_nothing(&self) -> bool {
        self.exit_code.is_none() && self.totals.is_nothing() && self.rows.is_empty()
    }
}

fn name(row: &PathRow) -> RowName {
    RowName { path: row.path, via: row.via, source: row.source, destination: row.destination }
}

impl TotalsChange {
    fn between(earlier: Option<&Process>, later: &Process) -> Self {
        let of = |read: fn(&Process) -> Option<u64>| change_of(earlier.and_then(read), read(later));
        Self {
            syscalls: of(|process| process.syscalls),
            exception_mode_switches: of(|process| process.mode_switches.exception),
            voluntary: of(|process| process.context_switches.map(|switches| switches.voluntary)),
            involuntary: of(|process| process.context_switches.map(|switches| switches.involuntary)),
            minor_faults: of(|process| process.page_faults.map(|faults| faults.minor)),
            major_faults: of(|process| process.page_faults.map(|faults| faults.major)),
            device_read_bytes: of(|process| process.device_read_bytes),
        }
    }

    /// Its numbers, to do the same with all of them.
    pub fn numbers_mut(&mut self) -> [&mut Option<i64>; 7] {
        let Self {
            syscalls,
            exception_mode_switches,
            voluntary,
            involuntary,
            minor_faults,
            major_faults,
            device_read_bytes,
        } = self;
        [
            syscalls,
            exception_mode_switches,
            voluntary,
            involuntary,
            minor_faults,
            major_faults,
            device_read_bytes,
        ]
    }

    fn is_nothing(mut self) -> bool {
        self.numbers_mut().into_iter().all(|change| change.unwrap_or(0) == 0)
    }
}

impl RowChange {
    fn between(earlier: Option<&Figures>, row: &PathRow) -> Self {
        let later = &row.figures;
        let of = |read: fn(&Figures) -> u64| change(earlier.map_or(0, read), read(later));
        let of_known = |read: fn(&Figures) -> Option<u64>| change_of(earlier.and_then(read), read(later));
        Self {
            name: name(row),
            transfers: of(|figures| figures.transfers),
            syscalls: of(|figures| figures.syscalls),
            bytes: of(|figures| figures.bytes),
            cpu_copied_bytes: of_known(|figures| figures.cpu_copied_bytes),
            by_reference_bytes: of_known(|figures| figures.by_reference_bytes),
            unknown_bytes: of(|figures| figures.unknown_bytes),
            device_read_bytes: of_known(|figures| figures.device_read_bytes),
            mode_switches: of(|figures| figures.mode_switches),
            voluntary: of_known(|figures| figures.context_switches.map(|switches| switches.voluntary)),
            involuntary: of_known(|figures| figures.context_switches.map(|switches| switches.involuntary)),
            minor_faults: of_known(|figures| figures.page_faults.map(|faults| faults.minor)),
            major_faults: of_known(|figures| figures.page_faults.map(|faults| faults.major)),
            rchar_bytes: of(|figures| figures.rchar_bytes),
            wchar_bytes: of(|figures| figures.wchar_bytes),
            evidence: later.evidence,
            reason: later.reason,
        }
    }

    fn of_one_that_is_gone(row: &PathRow) -> Self {
        let mut all = Self::between(None, row);
        for number in all.numbers_mut() {
            *number = -*number;
        }
        for number in all.known_mut().into_iter().flatten() {
            *number = -*number;
        }
        all
    }

    /// Its numbers that are always known, to do the same with all of them.
    pub fn numbers_mut(&mut self) -> [&mut i64; 7] {
        [
            &mut self.transfers,
            &mut self.syscalls,
            &mut self.bytes,
            &mut self.unknown_bytes,
            &mut self.mode_switches,
            &mut self.rchar_bytes,
            &mut self.wchar_bytes,
        ]
    }

    /// The others.
    pub fn known_mut(&mut self) -> [&mut Option<i64>; 7] {
        [
            &mut self.cpu_copied_bytes,
            &mut self.by_reference_bytes,
            &mut self.device_read_bytes,
            &mut self.voluntary,
            &mut self.involuntary,
            &mut self.minor_faults,
            &mut self.major_faults,
        ]
    }

    /// Nothing changed.
    pub fn is_nothing(mut self) -> bool {
        let known = self.known_mut().into_iter().all(|number| number.unwrap_or(0) == 0);
        known && self.numbers_mut().into_iter().all(|number| *number == 0)
    }
}

#[cfg(test)]
#[path = "interval_tests.rs"]
mod tests;
