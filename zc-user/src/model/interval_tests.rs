use proptest::prelude::*;

use super::*;
use crate::model::{
    account::account,
    fixture,
    report::{ContextSwitches, ModeSwitches, PageFaults, Tool},
};

/// A look after so many seconds.
fn look(seconds: f64, processes: Vec<Process>) -> Report {
    let mut report = account(&fixture::samples(), Tool { version: String::new(), commit: None });
    report.window.seconds = seconds;
    report.processes = processes;
    report
}

fn process(pid: u32, paths: Vec<PathRow>) -> Process {
    Process {
        pid,
        ppid: None,
        start_ns: 1,
        comm: Some("cat".to_owned()),
        exe: None,
        cmdline: Vec::new(),
        cgroup: None,
        container: None,
        exit_code: None,
        syscalls: None,
        mode_switches: ModeSwitches::default(),
        context_switches: None,
        page_faults: None,
        device_read_bytes: None,
        paths,
    }
}

fn row(path: Path, figures: Figures) -> PathRow {
    PathRow { path, via: Via::Syscall, source: Kind::File, destination: Kind::Memory, figures }
}

fn now() -> Timestamp {
    "2026-03-01T13:00:00Z".parse().expect("a time")
}

#[test]
fn the_first_interval_has_everything_and_the_next_what_was_added() {
    let figures = |bytes| fixture::figures(bytes, Some(bytes), Some(0), 0);
    let first = look(2.0, vec![process(7, vec![row(Path::Read, figures(100))])]);
    let second = look(5.0, vec![process(7, vec![row(Path::Read, figures(150))]), process(8, Vec::new())]);
    let all = Interval::between(None, &first, now());
    assert_eq!(all.processes[0].rows[0].bytes, 100);
    assert_eq!(all.end.as_second() - all.start.as_second(), 2);
    let more = Interval::between(Some(&first), &second, now());
    assert_eq!(more.processes.len(), 1, "nothing changed of the other process");
    assert_eq!(more.processes[0].rows[0].bytes, 50);
    assert_eq!(more.processes[0].rows[0].cpu_copied_bytes, Some(50));
    assert_eq!(more.processes[0].rows[0].transfers, 0);
    assert_eq!(more.end.as_second() - more.start.as_second(), 3);
    assert!(Interval::between(Some(&second), &second, now()).processes.is_empty());
}

#[test]
fn what_leaves_a_row_is_taken_off_it() {
    let figures = fixture::figures(100, Some(100), Some(0), 0);
    let first = look(1.0, vec![process(7, vec![row(Path::Read, figures.clone())])]);
    let second = look(2.0, vec![process(7, vec![row(Path::ReadWrite, figures)])]);
    let change = Interval::between(Some(&first), &second, now());
    let bytes: Vec<_> = change.processes[0].rows.iter().map(|row| (row.name.path, row.bytes)).collect();
    assert_eq!(bytes, [(Path::ReadWrite, 100), (Path::Read, -100)]);
    assert_eq!(change.processes[0].rows[1].cpu_copied_bytes, Some(-100));
}

#[test]
fn an_end_and_losses_are_told_once() {
    let ended = |seconds| {
        let mut report = look(seconds, vec![Process { exit_code: Some(0), ..process(7, Vec::new()) }]);
        report.lost.insert("ring_full".to_owned(), 3);
        report
    };
    let alive = look(1.0, vec![process(7, Vec::new())]);
    let change = Interval::between(Some(&alive), &ended(2.0), now());
    assert_eq!(change.processes[0].exit_code, Some(0));
    assert_eq!(change.lost.get("ring_full"), Some(&3));
    let again = Interval::between(Some(&ended(2.0)), &ended(3.0), now());
    assert!(again.processes.is_empty() && again.lost.is_empty());
}

#[test]
fn what_was_not_counted_stays_unknown() {
    let counted = Process {
        context_switches: Some(ContextSwitches { voluntary: 4, involuntary: 1 }),
        page_faults: Some(PageFaults { minor: 9, major: 0, copy_on_write: None }),
        ..process(7, Vec::new())
    };
    let change =
        Interval::between(Some(&look(1.0, vec![process(7, Vec::new())])), &look(2.0, vec![counted]), now());
    let totals = change.processes[0].totals;
    assert_eq!((totals.syscalls, totals.voluntary, totals.minor_faults), (None, Some(4), Some(9)));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn intervals_add_up_to_the_last_look(looks in prop::collection::vec((0..3_usize, 0..1000_u64), 1..8)) {
        let paths = [Path::Read, Path::ReadWrite, Path::Sendfile];
        let mut sums = HashMap::<Path, i64>::new();
        let mut earlier = None;
        let mut last = HashMap::<Path, i64>::new();
        for (index, (path, bytes)) in looks.into_iter().enumerate() {
            let figures = fixture::figures(bytes, None, None, bytes);
            let later = look(index as f64, vec![process(7, vec![row(paths[path], figures)])]);
            let change = Interval::between(earlier.as_ref(), &later, now());
            for row in change.processes.iter().flat_map(|process| &process.rows) {
                prop_assert_eq!(row.unknown_bytes, row.bytes);
                *sums.entry(row.name.path).or_default() += row.bytes;
            }
            last = HashMap::from([(paths[path], bytes.cast_signed())]);
            earlier = Some(later);
        }
        sums.retain(|_, sum| *sum != 0);
        last.retain(|_, sum| *sum != 0);
        prop_assert_eq!(sums, last);
    }
}
