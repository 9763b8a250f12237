use proptest::prelude::*;
use zc_common::path::{Kind, Path};

use super::*;
use crate::{
    history::fixture::{host, interval, process, row, some_intervals, time},
    model::{
        account::account,
        fixture,
        reason::Reason,
        report::{Evidence, Via},
    },
};

fn entries(intervals: Vec<Interval>) -> Vec<Entry> {
    intervals.into_iter().map(|interval| Entry { host: host(), interval }).collect()
}

fn past(intervals: Vec<Interval>) -> Past {
    report(entries(intervals), time("12:00:00"), time("13:00:00")).expect("a report")
}

/// One row in intervals of ten seconds: copied, by reference, unknown; payload is their sum.
fn verdict_of(changes: &[(i64, i64, i64)]) -> (Figures, Verdict) {
    let interval = |index: usize| {
        let (copied, by_reference, unknown) = changes[index];
        let mut row = row(Path::Sendfile, copied + by_reference + unknown);
        row.cpu_copied_bytes = Some(copied);
        row.by_reference_bytes = Some(by_reference);
        row.unknown_bytes = unknown;
        interval(&format!("12:0{index}:10"), vec![process(7, vec![row])])
    };
    let report = past((0..changes.len()).map(interval).collect()).report;
    let row = &report.processes[0].paths[0];
    (row.figures.clone(), row.figures.verdict)
}

#[test]
fn verdicts_are_of_the_sums() {
    assert_eq!(verdict_of(&[(0, 10, 0), (0, 20, 0)]).1, Verdict::ZeroCopy);
    assert_eq!(verdict_of(&[(0, 10, 0), (20, 0, 0)]).1, Verdict::Mixed);
    assert_eq!(verdict_of(&[(10, 0, 0), (20, 0, 0)]).1, Verdict::Copied);
    assert_eq!(verdict_of(&[(0, 0, 30), (0, 30, -30)]).1, Verdict::ZeroCopy, "it became known");
    assert_eq!(verdict_of(&[(0, 0, 30), (0, 20, -20)]).1, Verdict::Unknown);
}

#[test]
fn what_was_before_the_window_makes_no_verdict_of_it() {
    let (figures, verdict) = verdict_of(&[(0, 100, -100), (0, 10, 0)]);
    assert_eq!(verdict, Verdict::Unknown, "a negative sum");
    assert_eq!((figures.unknown_bytes, figures.by_reference_bytes), (0, Some(110)));
    // As many bytes became known as new ones are unknown: the sum is 0, but these are not known.
    assert_eq!(verdict_of(&[(0, 100, -100), (0, 0, 100)]).1, Verdict::Unknown);
    // The same of bytes that were copied, and of some by reference.
    assert_eq!(verdict_of(&[(-100, 50, 0), (100, 50, 0)]).1, Verdict::Mixed);
    assert_eq!(verdict_of(&[(100, -50, 0), (100, 50, 0)]).1, Verdict::Mixed);
}

#[test]
fn evidence_is_the_weakest_and_the_later_reason_wins() {
    let mut first = row(Path::Sendfile, 10);
    (first.evidence, first.reason) = (Evidence::Inferred, Some(Reason::Sendfile));
    let mut second = first;
    (second.evidence, second.reason) = (Evidence::Witnessed, Some(Reason::HandedOn));
    let of = |end, row| interval(end, vec![process(7, vec![row])]);
    let report = past(vec![of("12:00:10", first), of("12:00:20", second)]).report;
    let figures = &report.processes[0].paths[0].figures;
    assert_eq!((figures.evidence, figures.reason), (Evidence::Inferred, Some(Reason::Sendfile)));
}

#[test]
fn a_row_of_which_nothing_is_left_is_not_shown() {
    let first = row(Path::Read, 10);
    let mut gone = first;
    for number in [&mut gone.transfers, &mut gone.syscalls, &mut gone.bytes, &mut gone.mode_switches] {
        *number = -*number;
    }
    gone.rchar_bytes = -10;
    (gone.cpu_copied_bytes, gone.voluntary) = (Some(-10), Some(-1));
    let of = |end, rows| interval(end, vec![process(7, rows)]);
    let report =
        past(vec![of("12:00:10", vec![first]), of("12:00:20", vec![gone, row(Path::ReadWrite, 10)])]).report;
    let paths: Vec<_> = report.processes[0].paths.iter().map(|row| row.path).collect();
    assert_eq!(paths, [Path::ReadWrite]);
}

#[test]
fn whole_intervals_that_end_in_the_time_and_what_lies_between_them() {
    let ends = ["11:59:59", "12:00:00", "12:00:05", "12:00:15", "12:10:00", "13:00:00", "13:00:01"];
    let intervals = ends.map(|end| interval(end, vec![process(7, vec![row(Path::Read, 1)])]));
    let past = past(intervals.to_vec());
    assert_eq!(past.report.processes[0].paths[0].figures.bytes, 4);
    assert_eq!(past.report.window.start, time("11:59:55"));
    assert!((past.report.window.seconds - 3605.0).abs() < 1e-6);
    assert!((past.covered_seconds - 40.0).abs() < 1e-6);
    let gap = |start, end| Gap { start: time(start), end: time(end) };
    assert_eq!(past.gaps, [gap("12:00:15", "12:09:50"), gap("12:10:00", "12:59:50")]);
    assert_eq!(report(entries(Vec::new()), time("12:00:00"), time("13:00:00")), None);
}

#[test]
fn gaps_at_both_ends() {
    let gap = |start, end| Gap { start: time(start), end: time(end) };
    let one = || vec![interval("12:30:00", Vec::new())];
    assert_eq!(past(one()).gaps, [gap("12:00:00", "12:29:50"), gap("12:30:00", "13:00:00")]);
    let until = report(entries(one()), time("12:29:50"), time("12:30:10")).expect("a report");
    assert_eq!(until.gaps, [], "the next interval is still to come");
}

#[test]
fn processes_of_two_boots_are_two() {
    let mut all = entries(vec![
        interval("12:00:10", vec![process(7, vec![row(Path::Read, 1)])]),
        interval("12:10:10", vec![process(7, vec![row(Path::Read, 2)])]),
    ]);
    all[1].host.boot_id = Some("another".to_owned());
    all[1].host.kernel = "6.13.0".to_owned();
    let report = report(all, time("12:00:00"), time("13:00:00")).expect("a report").report;
    let bytes: Vec<_> = report.processes.iter().map(|process| process.paths[0].figures.bytes).collect();
    assert_eq!((bytes, report.host.kernel.as_str()), (vec![2, 1], "6.13.0"));
}

#[test]
fn losses_are_added_up_and_all_counters_are_there() {
    let mut intervals = [interval("12:00:10", Vec::new()), interval("12:00:20", Vec::new())];
    intervals[0].lost.insert("ring_full".to_owned(), 2);
    intervals[1].lost.insert("ring_full".to_owned(), 3);
    let lost = past(intervals.to_vec()).report.lost;
    assert_eq!((lost["ring_full"], lost["rows_full"], lost["unpaired"]), (5, 0, 0));
}

/// Looks at a session that goes on, whose numbers go up and down at will and whose rows come and go.
fn looks() -> impl Strategy<Value = Vec<Report>> {
    let maybe = || prop::option::of(0_u64..1000);
    let reasons = vec![None, Some(Reason::Sendfile), Some(Reason::HandedOn)];
    let row = (
        prop::sample::select(vec![Path::Read, Path::Sendfile]),
        (0_u64..1000, maybe(), maybe(), 0_u64..1000),
        prop::sample::select(reasons),
    );
    let row = row.prop_map(|(path, (bytes, copied, by_reference, unknown), reason)| {
        let mut figures = fixture::figures(bytes, copied, by_reference, unknown);
        figures.reason = reason;
        let (source, destination) = (Kind::File, Kind::Tcp);
        PathRow { path, via: Via::Syscall, source, destination, figures }
    });
    prop::collection::vec(prop::array::uniform3(row), 1..5).prop_map(|looks| {
        let process = |(pid, row): (usize, PathRow)| {
            let mut process = ProcessSum::default().process(u32::try_from(pid).expect("a few"), 1);
            process.paths.push(row);
            process
        };
        let look = |(index, rows): (usize, [PathRow; 3])| {
            let mut report = account(&fixture::samples(), Tool::this());
            report.window = Window { start: time("12:00:00"), seconds: 10.0 * (index + 1) as f64 };
            report.processes = rows.into_iter().enumerate().map(process).collect();
            report
        };
        looks.into_iter().enumerate().map(look).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_sum_of_a_whole_session_is_its_last_look(looks in looks()) {
        let end = |look: &Report| time("12:00:00") + SignedDuration::from_secs_f64(look.window.seconds);
        let mut intervals = Vec::new();
        for (index, look) in looks.iter().enumerate() {
            intervals.push(Interval::between(index.checked_sub(1).map(|before| &looks[before]), look, end(look)));
        }
        let past = past(intervals).report;
        let last = looks.last().expect("a look");
        for process in &last.processes {
            let row = &process.paths[0];
            let sum = past.processes.iter().find(|sum| sum.pid == process.pid).expect("the process");
            prop_assert_eq!(sum.paths.len(), 1, "a row that is gone is not shown");
            let Figures { bytes, cpu_copied_bytes, by_reference_bytes, unknown_bytes, .. } = &sum.paths[0].figures;
            prop_assert_eq!(sum.paths[0].path, row.path);
            prop_assert_eq!(*bytes, row.figures.bytes);
            prop_assert_eq!(cpu_copied_bytes.unwrap_or(0), row.figures.cpu_copied_bytes.unwrap_or(0));
            prop_assert_eq!(by_reference_bytes.unwrap_or(0), row.figures.by_reference_bytes.unwrap_or(0));
            prop_assert_eq!(*unknown_bytes, row.figures.unknown_bytes);
        }
    }

    #[test]
    fn any_intervals_make_a_report(intervals in some_intervals()) {
        if let Some(past) = report(entries(intervals), Timestamp::MIN, Timestamp::MAX) {
            for row in past.report.processes.iter().flat_map(|process| &process.paths) {
                if row.figures.verdict == Verdict::ZeroCopy {
                    prop_assert_eq!(row.figures.cpu_copied_bytes, Some(0));
                    prop_assert_eq!(row.figures.unknown_bytes, 0);
                }
            }
            serde_json::to_string(&past.report).expect("JSON");
        }
    }
}
