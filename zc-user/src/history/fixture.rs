//! Intervals for tests.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use tempfile::TempDir;
use zc_common::path::{Kind, Path as Way};

use super::{History, Host, Limits, Notice, Rolled, read};
use crate::model::{
    interval::{Interval, ProcessChange, RowChange, RowName, TotalsChange, Who},
    reason::Reason,
    report::{Evidence, Via},
};

/// Keeps everything.
pub(super) const ALL: Limits = Limits { max_age: Duration::MAX, max_bytes: u64::MAX };

pub(super) fn host() -> Host {
    Host {
        hostname: "web1".to_owned(),
        kernel: "6.12.0".to_owned(),
        arch: "x86_64".to_owned(),
        cpus: 4,
        boot_id: Some("5f3a9c01-9fd1-4c11-8a0e-000000000000".to_owned()),
    }
}

pub(super) fn time(text: &str) -> Timestamp {
    format!("2026-03-01T{text}Z").parse().expect("a time")
}

pub(super) fn row(way: Way, bytes: i64) -> RowChange {
    RowChange {
        name: RowName { path: way, via: Via::Syscall, source: Kind::File, destination: Kind::Tcp },
        transfers: 1,
        syscalls: 1,
        bytes,
        cpu_copied_bytes: Some(bytes),
        by_reference_bytes: Some(0),
        unknown_bytes: 0,
        device_read_bytes: None,
        mode_switches: 2,
        voluntary: Some(1),
        involuntary: None,
        minor_faults: None,
        major_faults: None,
        rchar_bytes: bytes,
        wchar_bytes: 0,
        evidence: Evidence::Witnessed,
        reason: Some(Reason::ReadIntoMemory),
    }
}

pub(super) fn process(pid: u32, rows: Vec<RowChange>) -> ProcessChange {
    let who = Who { pid, start_ns: 1, comm: Some("nginx".to_owned()), ..Who::default() };
    ProcessChange { who, exit_code: None, totals: TotalsChange::default(), rows }
}

/// Ten seconds that end at a time of day.
pub(super) fn interval(end: &str, processes: Vec<ProcessChange>) -> Interval {
    let end = time(end);
    Interval { start: end - SignedDuration::from_secs(10), end, lost: BTreeMap::new(), processes }
}

/// One process that read so many bytes.
pub(super) fn simple(end: &str, bytes: i64) -> Interval {
    interval(end, vec![process(7, vec![row(Way::Read, bytes)])])
}

pub(super) fn open(dir: &Path) -> (History, Vec<Notice>) {
    History::open(dir, host(), ALL).expect("a history")
}

/// Everything that is kept; nothing may be wrong with it.
pub(super) fn all(dir: &Path) -> Vec<Interval> {
    let mut reading = read(dir, Timestamp::MIN, Timestamp::MAX).expect("a history");
    let intervals = reading.by_ref().map(|entry| entry.interval).collect();
    assert_eq!(reading.notices(), []);
    intervals
}

pub(super) const SEGMENT: &str = "open/web1-5f3a9c01-2026-03-01T12.segment";
pub(super) const PATHS: &str =
    "parquet/paths/date=2026-03-01/hour=12/paths-web1-5f3a9c01-2026-03-01T12.parquet";

pub(super) fn dir() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

pub(super) fn append(history: &mut History, intervals: &[Interval]) {
    for interval in intervals {
        history.append(interval).expect("room");
    }
}

/// Rolls; nothing may fail or be wrong.
pub(super) fn roll(history: &mut History, now: &str) -> Rolled {
    let rolled = history.roll(time(now));
    assert!(rolled.failed.is_empty() && rolled.notices.is_empty(), "{rolled:?}");
    rolled
}

/// Every file, by its path in the directory.
pub(super) fn tree(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut left = vec![dir.to_path_buf()];
    while let Some(next) = left.pop() {
        for entry in fs::read_dir(next).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                left.push(path);
            } else {
                found.push(path.strip_prefix(dir).expect("within").to_str().expect("UTF-8").to_owned());
            }
        }
    }
    found.sort();
    found
}

fn number() -> impl Strategy<Value = i64> {
    prop_oneof![Just(0), -1000_i64..1_000_000, any::<i64>()]
}

fn some_row() -> impl Strategy<Value = RowChange> {
    let maybe = || prop::option::of(number());
    let evidence = vec![Evidence::Witnessed, Evidence::Reported, Evidence::Inferred];
    (
        (prop::sample::select(Way::ALL.to_vec()), prop::sample::select(vec![Via::Syscall, Via::IoUring, Via::Aio])),
        (0_u8..10, 0_u8..10),
        prop::array::uniform7(number()),
        prop::array::uniform7(maybe()),
        prop::sample::select(evidence),
        prop::option::of(prop::sample::select(Reason::ALL.to_vec())),
    )
        .prop_map(|((path, via), (source, destination), numbers, known, evidence, reason)| {
            let [transfers, syscalls, bytes, unknown_bytes, mode_switches, rchar_bytes, wchar_bytes] = numbers;
            let [copied, by_reference, device_read_bytes, voluntary, involuntary, minor_faults, major_faults] =
                known;
            let kind = |number| Kind::from_u8(number).expect("a kind");
            RowChange {
                name: RowName { path, via, source: kind(source), destination: kind(destination) },
                transfers,
                syscalls,
                bytes,
                cpu_copied_bytes: copied,
                by_reference_bytes: by_reference,
                unknown_bytes,
                device_read_bytes,
                mode_switches,
                voluntary,
                involuntary,
                minor_faults,
                major_faults,
                rchar_bytes,
                wchar_bytes,
                evidence,
                reason,
            }
        })
}

fn some_process() -> impl Strategy<Value = ProcessChange> {
    let text = || prop::option::of("[a-zé\"\\\\ \n\u{1}]{0,12}");
    (
        (any::<u32>(), prop::option::of(any::<u32>()), 0..u64::MAX / 2),
        (text(), text(), text(), text(), prop::collection::vec(".{0,8}", 0..4)),
        prop::option::of(any::<i32>()),
        prop::array::uniform7(prop::option::of(number())),
        prop::collection::vec(some_row(), 0..4),
    )
        .prop_map(
            |((pid, ppid, start_ns), (comm, exe, cgroup, container, cmdline), exit_code, totals, rows)| {
                let [syscalls, exception_mode_switches, voluntary, involuntary, minor, major, device] =
                    totals;
                ProcessChange {
                    who: Who { pid, ppid, start_ns, comm, exe, cmdline, cgroup, container },
                    exit_code,
                    totals: TotalsChange {
                        syscalls,
                        exception_mode_switches,
                        voluntary,
                        involuntary,
                        minor_faults: minor,
                        major_faults: major,
                        device_read_bytes: device,
                    },
                    rows,
                }
            },
        )
}

/// Intervals one after the other within an hour, or two.
pub(super) fn some_intervals() -> impl Strategy<Value = Vec<Interval>> {
    let one = (
        1_i64..200_000_000,
        prop::collection::btree_map("[a-z_]{1,8}", 1_u64..1000, 0..3),
        prop::collection::vec(some_process(), 0..4),
    );
    prop::collection::vec(one, 0..8).prop_map(|list| {
        let mut start = time("12:50:00");
        let mut intervals = Vec::new();
        for (microseconds, lost, processes) in list {
            let end = start + SignedDuration::from_micros(microseconds);
            intervals.push(Interval { start, end, lost, processes });
            start = end;
        }
        intervals
    })
}
