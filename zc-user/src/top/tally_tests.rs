use proptest::prelude::*;
use zc_common::path::{Kind, Path};

use super::*;
use crate::{
    model::{
        interval::{ProcessChange, RowChange, TotalsChange},
        report::{Verdict, Via},
    },
    render::view::Sort,
    top::numbers::Number,
};

pub(in crate::top) fn row(
    path: Path,
    bytes: i64,
    copied: Option<i64>,
    by_reference: Option<i64>,
) -> RowChange {
    RowChange {
        name: RowName { path, via: Via::Syscall, source: Kind::File, destination: Kind::Tcp },
        transfers: bytes.signum(),
        syscalls: bytes.signum(),
        bytes,
        cpu_copied_bytes: copied,
        by_reference_bytes: by_reference,
        unknown_bytes: 0,
        device_read_bytes: None,
        mode_switches: 2 * bytes.signum(),
        voluntary: None,
        involuntary: None,
        minor_faults: None,
        major_faults: None,
        rchar_bytes: bytes,
        wchar_bytes: 0,
        evidence: Evidence::Witnessed,
        reason: None,
    }
}

pub(in crate::top) fn process(pid: u32, start_ns: u64, rows: Vec<RowChange>) -> ProcessChange {
    ProcessChange {
        who: Who { pid, start_ns, comm: Some("cat".to_owned()), ..Who::default() },
        rows,
        ..ProcessChange::default()
    }
}

pub(in crate::top) fn interval(processes: Vec<ProcessChange>) -> Interval {
    let end: Timestamp = "2026-03-01T12:00:02Z".parse().expect("a time");
    let start = "2026-03-01T12:00:00Z".parse().expect("a time");
    Interval { start, end, lost: BTreeMap::new(), processes }
}

fn close(tally: &mut Tally, processes: Vec<ProcessChange>) -> Frame {
    tally.add(&interval(processes), 2.0);
    tally.close()
}

fn bytes(moved: &Moved) -> Option<u64> {
    moved.shown.get(Number::Bytes)
}

#[test]
fn rates_are_changes_by_the_time_they_took() {
    let mut tally = Tally::default();
    let change = process(7, 1, vec![row(Path::Sendfile, 1000, Some(0), Some(1000))]);
    tally.add(&interval(vec![change.clone()]), 0.5);
    tally.add(&interval(vec![change]), 1.5);
    let frame = tally.close();
    let moved = &frame.processes[0].moved;
    assert_eq!(moved.shown.per_second(Number::Bytes, frame.seconds), Some(1000.0));
    assert_eq!(moved.shown.per_second(Number::Calls, frame.seconds), Some(1.0));
    assert_eq!(moved.shown.per_second(Number::AllCalls, frame.seconds), None, "not counted");
    assert_eq!((moved.verdict(), moved.shown.copies_per_byte()), (Some(Verdict::ZeroCopy), Some(0.0)));
    assert_eq!(frame.total.verdict(), Some(Verdict::ZeroCopy));
    let nothing = tally.close();
    assert!(nothing.processes.is_empty() && nothing.total.shown.is_nothing());
    assert!(nothing.total.verdict().is_none());
    assert_eq!(bytes(&nothing.total), Some(0), "nothing moved, which is known");
    let totals = TotalsChange { voluntary: Some(1), ..TotalsChange::default() };
    let idle = close(&mut tally, vec![ProcessChange { totals, ..process(7, 1, Vec::new()) }]);
    assert_eq!(bytes(&idle.processes[0].moved), Some(0));
    assert_eq!(idle.processes[0].moved.shown.get(Number::MinorFaults), None);
}

#[test]
fn bytes_that_find_their_write_later_are_not_shown_twice_nor_below_nothing() {
    let mut tally = Tally::default();
    let read = |bytes| row(Path::Read, bytes, Some(bytes), Some(0));
    let first = close(&mut tally, vec![process(7, 1, vec![read(100)])]);
    assert_eq!(bytes(&first.total), Some(100));
    // They are written, and others are read.
    let pair = row(Path::ReadWrite, 100, Some(200), Some(0));
    let second = close(&mut tally, vec![process(7, 1, vec![read(-100), pair])]);
    let moved = &second.processes[0].moved;
    assert_eq!((bytes(moved), bytes(&second.total)), (Some(0), Some(0)));
    assert_eq!(moved.shown.get(Number::CpuCopiedBytes), Some(100));
    let shown: Vec<_> = second.processes[0].rows.iter().map(|row| bytes(&row.moved)).collect();
    assert_eq!(shown, [Some(0), Some(100)], "read, read+write");
    // What the row had too much is taken off what it gets next.
    let third = close(&mut tally, vec![process(7, 1, vec![read(130)])]);
    assert_eq!(bytes(&third.processes[0].rows[0].moved), Some(30));
    assert_eq!(bytes(&third.total), Some(130));
}

#[test]
fn copies_that_are_set_against_a_correction_are_still_copies() {
    let mut tally = Tally::default();
    let other = |copied, by_reference| RowChange {
        name: RowName {
            path: Path::Sendfile,
            via: Via::Syscall,
            source: Kind::File,
            destination: Kind::File,
        },
        ..row(Path::Sendfile, 100, Some(copied), Some(by_reference))
    };
    let mut corrected = row(Path::Sendfile, 0, Some(-100), Some(100));
    corrected.transfers = 0;
    let frame = close(&mut tally, vec![process(7, 1, vec![corrected, other(100, 0)])]);
    let moved = &frame.processes[0].moved;
    assert_eq!(moved.shown.get(Number::CpuCopiedBytes), Some(0));
    assert_ne!(moved.verdict(), Some(Verdict::ZeroCopy));
    assert_ne!(frame.total.verdict(), Some(Verdict::ZeroCopy));
}

#[test]
fn a_sum_is_as_sure_as_the_least_sure_of_what_went_by_reference() {
    let mut tally = Tally::default();
    let inferred = RowChange { evidence: Evidence::Inferred, ..row(Path::Splice, 5, Some(0), Some(5)) };
    let seen = row(Path::Sendfile, 100, Some(0), Some(100));
    let copied = RowChange { evidence: Evidence::Inferred, ..row(Path::Write, 7, Some(7), Some(0)) };
    let idle = RowChange { evidence: Evidence::Inferred, ..row(Path::Read, 0, None, None) };
    let frame = close(
        &mut tally,
        vec![
            process(7, 1, vec![seen, idle]),
            process(8, 1, vec![inferred, seen]),
            process(9, 1, vec![copied, seen]),
        ],
    );
    assert_eq!(frame.processes[0].moved.verdict(), Some(Verdict::ZeroCopy), "the read moved nothing");
    assert_eq!(frame.processes[1].moved.verdict(), Some(Verdict::Unknown));
    assert_eq!(
        frame.processes[2].moved.verdict(),
        Some(Verdict::Mixed),
        "a copy is one, however it is known"
    );
    assert_eq!(frame.total.verdict(), Some(Verdict::Unknown));
}

#[test]
fn a_process_that_ends_is_in_one_interval_and_its_id_may_come_again() {
    let mut tally = Tally::default();
    let read = |bytes| vec![row(Path::Read, bytes, Some(bytes), None)];
    let ended = ProcessChange { exit_code: Some(137), ..process(7, 1, read(10)) };
    tally.add(&interval(vec![process(7, 1, read(5))]), 1.0);
    tally.add(&interval(vec![ended]), 1.0);
    // Another one with its id.
    tally.add(&interval(vec![process(7, 9, read(1))]), 1.0);
    let mut frame = tally.close();
    frame.sort(Sort::Pid);
    let seen: Vec<_> = frame
        .processes
        .iter()
        .map(|process| (process.who.start_ns, process.exit_code, bytes(&process.moved)))
        .collect();
    assert_eq!(seen, [(1, Some(137), Some(15)), (9, None, Some(1))]);
    let next = close(&mut tally, vec![process(7, 9, read(2))]);
    assert_eq!(next.processes.len(), 1);
    assert_eq!(next.processes[0].exit_code, None);
}

#[test]
fn what_the_ended_owe_is_forgotten() {
    let mut tally = Tally::default();
    let ended = ProcessChange { exit_code: Some(0), ..process(7, 1, vec![row(Path::Read, -5, None, None)]) };
    close(&mut tally, vec![ended]);
    assert!(tally.debts.keys().any(|owner| owner.process().is_some()));
    tally.close();
    assert!(tally.debts.keys().all(|owner| owner.process().is_none()));
}

#[test]
fn costs_of_a_process_are_all_that_it_had_and_losses_add_up() {
    let mut tally = Tally::default();
    let totals = TotalsChange {
        syscalls: Some(50),
        voluntary: Some(7),
        involuntary: Some(0),
        ..TotalsChange::default()
    };
    let within = RowChange { voluntary: Some(3), ..row(Path::Read, 10, Some(10), None) };
    let mut part = interval(vec![ProcessChange { totals, ..process(7, 1, vec![within]) }]);
    part.lost.insert("ring_full".to_owned(), 2);
    tally.add(&part, 1.0);
    tally.add(&part, 1.0);
    let frame = tally.close();
    let moved = &frame.processes[0].moved;
    assert_eq!(moved.shown.get(Number::VoluntarySwitches), Some(14));
    assert_eq!(moved.shown.get(Number::AllCalls), Some(100));
    assert_eq!(frame.processes[0].rows[0].moved.shown.get(Number::VoluntarySwitches), Some(6));
    assert_eq!(frame.lost.get("ring_full"), Some(&4));
    assert!(tally.close().lost.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever moves between rows: what is shown of a process, a row or all is never more than what there was at its most, and is
    /// what changed but for what is still owed.
    #[test]
    fn rates_times_seconds_add_up_to_the_changes(
        steps in prop::collection::vec((0..3_u32, 0..2_usize, -500..1000_i64, 1..100_u32, any::<bool>()), 1..30)
    ) {
        let paths = [Path::Read, Path::ReadWrite];
        let mut tally = Tally::default();
        let mut changed = 0_i64;
        let mut rows = HashMap::<(u32, RowName), i64>::new();
        let mut shown = 0.0;
        let mut shown_of_rows = HashMap::<(u32, RowName), u64>::new();
        for (pid, path, step, tenths, is_last) in steps {
            let change = row(paths[path], step, Some(step), None);
            changed += step;
            *rows.entry((pid, change.name)).or_default() += step;
            tally.add(&interval(vec![process(pid, 1, vec![change])]), f64::from(tenths) / 10.0);
            if is_last {
                continue;
            }
            let frame = tally.close();
            shown += frame.total.shown.per_second(Number::Bytes, frame.seconds).unwrap_or(0.0) * frame.seconds;
            for process in &frame.processes {
                for row in &process.rows {
                    *shown_of_rows.entry((process.who.pid, row.name)).or_default() +=
                        row.moved.shown.or_zero(Number::Bytes);
                }
            }
        }
        let frame = tally.close();
        shown += frame.total.shown.or_zero(Number::Bytes) as f64;
        for process in &frame.processes {
            for row in &process.rows {
                *shown_of_rows.entry((process.who.pid, row.name)).or_default() +=
                    row.moved.shown.or_zero(Number::Bytes);
            }
        }
        let owed = |owner| tally.debts.get(&owner).map_or(0, |debts| debts[Number::Bytes as usize]);
        prop_assert!((shown - (changed - owed(Owner::All)) as f64).abs() < 1e-3);
        for ((pid, name), changed) in rows {
            let shown = shown_of_rows.get(&(pid, name)).copied().unwrap_or(0);
            prop_assert_eq!(shown.cast_signed(), changed - owed(Owner::Row((pid, 1), name)));
        }
    }
}
