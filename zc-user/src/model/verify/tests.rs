//! The rule, case by case.

use zc_common::path::{Kind, Path};

use super::*;
use crate::model::{
    account,
    fixture::{self, samples},
    reason::Reason,
    report::{
        End, Evidence, Figures, Flow, Hook, ModeSwitches, Omitted, PathRow, Process, Tool, Verdict, Via,
    },
};

const NONE: Expectation = Expectation::ZeroCopy(Bound::Bytes(0));

fn figures(bytes: u64, copied: Option<u64>, by_reference: Option<u64>, unknown: u64) -> Figures {
    let figures = fixture::figures(bytes, copied, by_reference, unknown);
    Figures { reason: Some(Reason::ThroughMemory), ..figures }
}

fn copied(bytes: u64) -> Figures {
    Figures { verdict: Verdict::Copied, ..figures(bytes, Some(2 * bytes), Some(0), 0) }
}

fn seen(bytes: u64) -> Figures {
    let figures = figures(bytes, Some(0), Some(bytes), 0);
    Figures { verdict: Verdict::ZeroCopy, evidence: Evidence::Witnessed, reason: None, ..figures }
}

fn reported(bytes: u64) -> Figures {
    Figures { evidence: Evidence::Reported, ..seen(bytes) }
}

fn unknown(bytes: u64) -> Figures {
    Figures { reason: Some(Reason::Sendfile), ..figures(bytes, None, None, bytes) }
}

fn file(name: &str) -> End {
    End { kind: Kind::File, name: Some(name.to_owned()), local: None }
}

/// A flow of process 7 from a file to a TCP socket.
fn flow(path: Path, name: &str, port: u16, figures: Figures) -> Flow {
    let destination = End {
        kind: Kind::Tcp,
        name: Some(format!("192.0.2.7:{port}")),
        local: Some("192.0.2.1:80".to_owned()),
    };
    Flow { pid: 7, start_ns: 5, path, via: Via::Syscall, source: file(name), destination, figures }
}

fn row(path: Path, figures: Figures) -> PathRow {
    PathRow { path, via: Via::Syscall, source: Kind::File, destination: Kind::Tcp, figures }
}

fn report(paths: Vec<PathRow>, flows: Vec<Flow>) -> Report {
    let process = Process {
        pid: 7,
        ppid: None,
        start_ns: 5,
        comm: Some("server".to_owned()),
        exe: None,
        cmdline: Vec::new(),
        cgroup: None,
        container: None,
        exit_code: Some(0),
        syscalls: None,
        mode_switches: ModeSwitches::default(),
        context_switches: None,
        page_faults: None,
        device_read_bytes: None,
        paths,
    };
    let nothing = account(&samples(), Tool { version: "1.0.0".to_owned(), commit: None });
    Report { processes: vec![process], flows, ..nothing }
}

fn rows(rows: &[(Path, Figures)]) -> Report {
    report(rows.iter().map(|(path, figures)| row(*path, figures.clone())).collect(), Vec::new())
}

/// A report whose flows are all of its one row.
fn flows(flows: Vec<Flow>, all: Figures) -> Report {
    report(vec![row(flows[0].path, all)], flows)
}

fn ask(report: &Report, selection: &Selection, expectation: Expectation) -> Outcome {
    verify(report, selection, expectation).outcome
}

fn all(report: &Report, expectation: Expectation) -> Outcome {
    ask(report, &Selection::default(), expectation)
}

#[test]
fn answers_about_one_row() {
    use Outcome::{CannotBeDecided, DoesNotHold, Holds};
    let table = [
        // path, figures, zero-copy, copied
        (Path::ReadWrite, copied(10), DoesNotHold, Holds),
        (Path::DirectRead, seen(10), Holds, DoesNotHold),
        (Path::CopyFileRange, reported(10), Holds, DoesNotHold),
        (Path::RecvZerocopy, reported(10), Holds, DoesNotHold),
        // The kernel reports so of devices without scatter-gather, too.
        (Path::SendZerocopy, reported(10), CannotBeDecided, CannotBeDecided),
        (Path::Sendfile, unknown(10), CannotBeDecided, CannotBeDecided),
        (
            Path::Sendfile,
            Figures { evidence: Evidence::Inferred, ..seen(10) },
            CannotBeDecided,
            CannotBeDecided,
        ),
        // One of two steps copied, the other is not known: that it was copied is certain.
        (Path::ReadWrite, figures(10, Some(10), Some(0), 10), DoesNotHold, CannotBeDecided),
        // Some of it is missing.
        (Path::DirectRead, Figures { by_reference_bytes: Some(9), ..seen(10) }, CannotBeDecided, DoesNotHold),
        (
            Path::RecvZerocopy,
            Figures { cpu_copied_bytes: Some(4), by_reference_bytes: Some(6), ..reported(10) },
            DoesNotHold,
            DoesNotHold,
        ),
        (Path::Read, figures(0, None, None, 0), CannotBeDecided, CannotBeDecided),
    ];
    for (path, figures, zero_copy, copied) in table {
        let report = rows(&[(path, figures.clone())]);
        assert_eq!(all(&report, NONE), zero_copy, "{path:?} {figures:?}");
        assert_eq!(all(&report, Expectation::Copied), copied, "{path:?} {figures:?}");
    }
}

#[test]
fn a_check_that_checks_nothing_does_not_hold() {
    let report = rows(&[(Path::DirectRead, seen(10))]);
    for selection in [
        Selection { paths: vec![Path::Sendfile], ..Selection::default() },
        Selection { min_bytes: 11, ..Selection::default() },
        Selection { files: vec!["/no".to_owned()], ..Selection::default() },
    ] {
        let answer = verify(&report, &selection, NONE);
        assert_eq!(
            (answer.outcome, &answer.undecided[0]),
            (Outcome::CannotBeDecided, &Doubt::NothingSelected)
        );
        assert!(answer.summary.starts_with("cannot be decided: nothing was selected"), "{}", answer.summary);
    }
}

#[test]
fn the_selected_rows_alone_decide() {
    let report =
        rows(&[(Path::DirectRead, seen(100)), (Path::ReadWrite, copied(10)), (Path::Sendfile, unknown(1))]);
    let path = |path| Selection { paths: vec![path], ..Selection::default() };
    assert_eq!(ask(&report, &path(Path::DirectRead), NONE), Outcome::Holds);
    assert_eq!(ask(&report, &path(Path::ReadWrite), NONE), Outcome::DoesNotHold);
    assert_eq!(ask(&report, &path(Path::Sendfile), NONE), Outcome::CannotBeDecided);
    assert_eq!(ask(&report, &Selection { min_bytes: 11, ..Selection::default() }, NONE), Outcome::Holds);
    assert_eq!(all(&report, NONE), Outcome::DoesNotHold);
}

#[test]
fn mixed_bytes_are_named_in_both_shares() {
    let report = rows(&[(Path::DirectRead, seen(100)), (Path::ReadWrite, copied(10))]);
    let answer = verify(&report, &Selection::default(), NONE);
    assert_eq!(
        answer.summary,
        "does not hold: 20 bytes copied, 100 by reference, 0 unknown, of 110 in 2 rows; at most 0 may be copied"
    );
    assert_eq!(answer.rows.len(), 1);
    let item = &answer.rows[0];
    assert_eq!(
        (item.path, item.cpu_copied_bytes, item.broke.as_slice()),
        (Path::ReadWrite, Some(20), &[Cause::Copied][..])
    );
    assert_eq!((item.reason, item.hint), (Some(Reason::ThroughMemory), Reason::ThroughMemory.hint()));
}

#[test]
fn bounds_are_bytes_or_a_share_of_the_payload() {
    let report = rows(&[(Path::DirectRead, seen(190)), (Path::ReadWrite, copied(10))]);
    let bound = |bound| all(&report, Expectation::ZeroCopy(bound));
    assert_eq!(bound(Bound::Bytes(20)), Outcome::Holds);
    assert_eq!(bound(Bound::Bytes(19)), Outcome::DoesNotHold);
    assert_eq!(bound(Bound::Share(10_000)), Outcome::Holds);
    assert_eq!(bound(Bound::Share(9_999)), Outcome::DoesNotHold);
    let answer = verify(&report, &Selection::default(), Expectation::ZeroCopy(Bound::Share(9_990)));
    assert!(answer.summary.ends_with("at most 9.99% may be copied"), "{}", answer.summary);
    let answer = verify(&report, &Selection::default(), Expectation::ZeroCopy(Bound::Bytes(20)));
    assert!(answer.rows.is_empty(), "what is allowed breaks nothing");
}

#[test]
fn losses_never_let_it_hold_and_copies_stay_certain() {
    let seen = rows(&[(Path::DirectRead, seen(100))]);
    let mixed = rows(&[(Path::ReadWrite, copied(10))]);
    let spoil: [fn(&mut Report); 3] = [
        |report| {
            report.lost.insert("rows_full".to_owned(), 1);
        },
        |report| report.omitted = Some(Omitted { flows: 1, ..Omitted::default() }),
        |report| {
            report.hooks.push(Hook {
                name: "io_uring_complete".to_owned(),
                method: None,
                status: HookStatus::Unavailable,
                reason: Some("not in this kernel".to_owned()),
            });
        },
    ];
    for spoil in spoil {
        let (mut seen, mut mixed) = (seen.clone(), mixed.clone());
        spoil(&mut seen);
        spoil(&mut mixed);
        assert_eq!(all(&seen, NONE), Outcome::CannotBeDecided);
        assert_eq!(all(&mixed, NONE), Outcome::DoesNotHold);
        assert_eq!(all(&mixed, Expectation::ZeroCopy(Bound::Bytes(19))), Outcome::DoesNotHold);
        assert_eq!(all(&mixed, Expectation::ZeroCopy(Bound::Bytes(20))), Outcome::CannotBeDecided);
        // What is missing could have made the share smaller.
        assert_eq!(all(&mixed, Expectation::ZeroCopy(Bound::Share(100_000))), Outcome::CannotBeDecided);
    }
}

fn without(report: &Report, name: &str, status: HookStatus) -> Report {
    let hook = Hook { name: name.to_owned(), method: None, status, reason: None };
    Report { hooks: vec![hook], ..report.clone() }
}

#[test]
fn a_hook_without_which_only_numbers_are_missing_is_no_loss() {
    let report = rows(&[(Path::DirectRead, seen(100))]);
    for name in HOOKS_OF_NUMBERS {
        assert_eq!(all(&without(&report, name, HookStatus::Unavailable), NONE), Outcome::Holds, "{name}");
    }
    let known: Vec<_> = crate::probe::hook::HOOKS.iter().map(|hook| hook.name).collect();
    let named = HOOKS_OF_NUMBERS.into_iter().chain(HOOKS_OF_PAGES).chain([HOOK_OF_MAPPED_PAGES]);
    assert!(named.into_iter().all(|name| known.contains(&name)), "no such hook");
}

#[test]
fn pages_of_mapped_files_are_missing_only_where_they_could_be_selected() {
    let report = rows(&[(Path::DirectRead, seen(100)), (Path::Mmap, seen(4096))]);
    let paths = |paths: &[Path]| Selection { paths: paths.to_vec(), ..Selection::default() };
    for status in [HookStatus::Unavailable, HookStatus::Disabled] {
        let report = without(&report, "page_fault_user", status);
        assert_eq!(all(&report, NONE), Outcome::CannotBeDecided);
        assert_eq!(ask(&report, &paths(&[Path::DirectRead]), NONE), Outcome::Holds);
    }
    // Another hook that is switched off has another in its place.
    assert_eq!(all(&without(&report, "sys_exit", HookStatus::Disabled), NONE), Outcome::Holds);
    let report = without(&report, HOOK_OF_MAPPED_PAGES, HookStatus::Unavailable);
    let share = Expectation::ZeroCopy(Bound::Share(1));
    assert_eq!((all(&report, NONE), all(&report, share)), (Outcome::Holds, Outcome::CannotBeDecided));
    assert_eq!(ask(&report, &paths(&[Path::DirectRead]), share), Outcome::Holds);
}

#[test]
fn names_select_flows() {
    let parts = vec![
        flow(Path::ReadWrite, "/srv/a", 1000, copied(10)),
        flow(Path::ReadWrite, "/srv/b", 2000, seen(30)),
        flow(Path::ReadWrite, "/etc/c", 2000, copied(1)),
    ];
    let report = flows(parts, figures(41, Some(22), Some(30), 0));
    let file = |name: &str| Selection { files: vec![name.to_owned()], ..Selection::default() };
    let port = |port| Selection { ports: vec![port], ..Selection::default() };
    assert_eq!(ask(&report, &file("/srv/b"), NONE), Outcome::Holds);
    assert_eq!(ask(&report, &file("/srv/a"), NONE), Outcome::DoesNotHold);
    assert_eq!(ask(&report, &port(2000), NONE), Outcome::DoesNotHold);
    let both = Selection { min_bytes: 2, ..port(2000) };
    let answer = verify(&report, &both, NONE);
    assert_eq!((answer.outcome, answer.selected.entries, answer.selected.bytes), (Outcome::Holds, 1, 30));
    let answer = verify(&report, &file("/srv"), NONE);
    assert_eq!((answer.rows.len(), answer.flows.len(), answer.selected.bytes), (0, 1, 40));
    assert_eq!(answer.flows[0].source.name.as_deref(), Some("/srv/a"));
}

#[test]
fn a_row_with_parts_of_different_evidence_is_judged_by_its_parts() {
    let parts =
        vec![flow(Path::ReadWrite, "/srv/a", 1, copied(10)), flow(Path::ReadWrite, "/srv/b", 2, seen(990))];
    let report = flows(parts, figures(1000, Some(20), Some(990), 0));
    assert_eq!(all(&report, Expectation::ZeroCopy(Bound::Share(2_000))), Outcome::Holds);
    assert_eq!(all(&report, Expectation::ZeroCopy(Bound::Share(1_999))), Outcome::DoesNotHold);
    let answer = verify(&report, &Selection::default(), NONE);
    assert_eq!((answer.rows.len(), answer.flows.len()), (1, 1), "the row, and the flow that copied");
    // Without one of them, the rest has the row's evidence.
    let mut part = report;
    part.flows.pop();
    assert_eq!(all(&part, Expectation::ZeroCopy(Bound::Share(2_000))), Outcome::CannotBeDecided);
}

#[test]
fn bytes_without_a_name_may_be_the_selected_ones() {
    let parts = vec![flow(Path::DirectRead, "/srv/a", 1, seen(10))];
    let file = Selection { files: vec!["/srv/a".to_owned()], ..Selection::default() };
    let whole = flows(parts.clone(), seen(10));
    assert_eq!(ask(&whole, &file, NONE), Outcome::Holds);
    let report = flows(parts, seen(15));
    let answer = verify(&report, &file, NONE);
    assert_eq!(answer.outcome, Outcome::CannotBeDecided);
    assert_eq!(answer.undecided, [Doubt::UnattributedBytes { bytes: 5 }]);
    assert_eq!((answer.rows.len(), answer.rows[0].broke.as_slice()), (1, &[Cause::Unattributed][..]));
    let other = Selection { paths: vec![Path::ReadWrite], ..file.clone() };
    assert_eq!(verify(&report, &other, NONE).undecided, [Doubt::NothingSelected]);
    let larger = Selection { min_bytes: 6, ..file };
    assert_eq!(ask(&report, &larger, NONE), Outcome::Holds);
}

mod properties;
