//! Losses are declared by their reason, and what is reported beside them is never more than the truth.
//!
//! Each map is made tiny by a hidden option of `zc run`, and a fixture that needs more is traced.

use zc_tests::{
    Work,
    compare::differences,
    expect::{Expectation, Kind},
    fixture,
    report::{Flow, Report},
    zc::{Traced, Zc},
};

fn traced(zc: &Zc, work: &Work, options: &[&str]) -> (Report, Expectation) {
    let Traced { report, done, .. } = zc.run_json(options, &work.command());
    assert!(done.status.success(), "{}", done.stderr);
    (report, work.expectation())
}

/// A loss may hide a process or a row; it never makes anything up.
fn never_too_much(report: &Report, expected: &Expectation) {
    for truth in expected.all().into_iter().filter(|process| !process.execs) {
        let Some(process) = report.processes.iter().find(|process| process.pid == truth.pid) else {
            continue;
        };
        assert!(
            process.bytes_read() <= truth.rchar,
            "{}: {} of {}",
            truth.pid,
            process.bytes_read(),
            truth.rchar
        );
        assert!(process.bytes_written() <= truth.wchar, "{}: bytes written", truth.pid);
        assert!(process.data_calls() <= truth.data_calls(), "{}: data calls", truth.pid);
    }
}

/// The counter that `option` must raise, and nothing reported beyond the truth.
fn declared(name: &str, options: &[&str], counter: &str) -> Option<(Report, Expectation)> {
    let zc = Zc::with(&[])?;
    let work = fixture!(name);
    let (report, expected) = traced(&zc, &work, options);
    assert!(report.lost(counter) > 0, "{options:?} with {name} must raise {counter}: {:?}", report.lost);
    never_too_much(&report, &expected);
    Some((report, expected))
}

/// Pairs that were lost are legs: the kernel's counts still hold, call by call and byte by byte.
fn conserved(report: &Report, expected: &Expectation) {
    for truth in expected.all() {
        let process = report.process(truth.pid);
        assert_eq!(process.bytes_read(), truth.rchar, "bytes read by {}", truth.pid);
        assert_eq!(process.bytes_written(), truth.wchar, "bytes written by {}", truth.pid);
        assert_eq!(process.data_calls(), truth.data_calls(), "data calls of {}", truth.pid);
    }
}

#[test]
fn rows_that_find_no_place_are_declared() {
    declared("kinds", &["--rows-max", "3"], "rows_full");
}

#[test]
fn threads_that_find_no_place_are_declared() {
    declared("threads", &["--threads-max", "1"], "threads_full");
}

#[test]
fn objects_that_find_no_place_are_declared() {
    let Some((report, expected)) = declared("reused-descriptors", &["--objects-max", "3"], "objects_full")
    else {
        return;
    };
    // A descriptor whose object is not remembered has lost its name, not its bytes.
    conserved(&report, &expected);
}

#[test]
fn pairs_that_are_pushed_out_are_declared_and_stay_legs() {
    let Some((report, expected)) = declared("pairs-many", &["--pair-sets", "1"], "pairs_evicted") else {
        return;
    };
    conserved(&report, &expected);
    let truth = expected.row("read+write", zc_tests::expect::Kind::File, zc_tests::expect::Kind::File);
    let paired = report.process(expected.pid).bytes(
        "read+write",
        zc_tests::expect::Kind::File,
        zc_tests::expect::Kind::File,
    );
    assert!(
        paired < truth.expect("the plan's relays").bytes,
        "{paired} bytes paired although pairs were lost"
    );
}

#[test]
fn many_open_pairs_pair_or_are_declared_with_the_usual_sizes() {
    let Some(zc) = Zc::with(&[]) else { return };
    let work = fixture!("pairs-many");
    let (report, expected) = traced(&zc, &work, &[]);
    conserved(&report, &expected);
    let wrong = differences(&report, &expected);
    assert!(wrong.is_empty() || report.lost("pairs_evicted") > 0, "undeclared: {wrong:?}");
}

#[test]
fn flows_beyond_the_limit_are_counted_and_path_rows_stay_exact() {
    let Some((report, mut expected)) = declared("many-files", &["--flows-max", "2"], "flows_overflow") else {
        return;
    };
    expected.flows.clear();
    assert_eq!(differences(&report, &expected), Vec::<String>::new());
    for row in &report.process(expected.pid).paths {
        let ends = |flow: &&Flow| (flow.source.kind, flow.destination.kind) == (row.source, row.destination);
        let own = report.flows.iter().filter(|flow| flow.pid == expected.pid && flow.path == row.path);
        let own = own.filter(ends);
        let bytes: u64 = own.map(|flow| flow.bytes).sum();
        assert!(bytes <= row.bytes, "{bytes} bytes in flows of {} of {}", row.bytes, row.path);
    }
}

/// While zc is stopped nobody empties the ring, so a thousand births and ends must overflow a small one;
/// no clock decides it.
#[test]
fn a_ring_that_nobody_empties_is_declared() {
    let Some(zc) = Zc::with(&[]) else { return };
    let work = fixture!("storm");
    let mut words = vec!["sh".to_owned(), "-c".into(), "echo up; read line; exec \"$@\"".into(), "sh".into()];
    words.extend(work.command());
    let path = zc.report_path("ring.json");
    let mut running = zc.run_job(&path, &["--ring-bytes", "4096"], &words).with_input().start();
    running.wait_for_output("up");
    running.signal(libc::SIGSTOP);
    running.input(b"\n");
    zc_tests::machine::wait_for("the storm's end", || work.expect_path().exists().then_some(()));
    running.signal(libc::SIGCONT);
    let Traced { report, .. } = Traced::collect(&path, running.finish());
    assert!(report.lost("ring_full") > 0, "a full ring must be declared: {:?}", report.lost);
    never_too_much(&report, &work.expectation());
}

#[test]
fn losses_are_said_in_the_table_too() {
    let Some(zc) = Zc::with(&[]) else { return };
    let work = fixture!("kinds");
    let mut words = vec!["run", "--format", "table", "--rows-max", "3", "--"];
    let command = work.command();
    words.extend(command.iter().map(String::as_str));
    let done = zc.job(&words).finish();
    assert!(done.status.success(), "{}", done.stderr);
    assert!(
        done.stderr.contains("lost") && done.stderr.contains("rows_full"),
        "no word of the loss: {}",
        done.stderr
    );
}

#[test]
fn requests_in_a_ring_of_which_no_completion_tells_are_counted_one_by_one() {
    let Some((report, _)) = declared("ring-unseen", &[], "ring_unseen") else { return };
    assert_eq!(report.lost("ring_unseen"), 7);
}

/// What they have put into a pipe comes out of it as a leg; what was put there beside it is joined, or is not.
#[test]
fn splices_by_a_ring_of_which_no_completion_tells_are_counted_one_by_one() {
    const ROUNDS: u64 = 13;
    let Some((report, expected)) = declared("ring-splice-unseen", &[], "ring_unseen") else { return };
    assert_eq!(report.lost("ring_unseen"), ROUNDS);
    let process = report.process(expected.pid);
    let bytes = |source, destination| {
        process.row_via("io_uring", "splice", source, destination).map_or(0, |row| row.bytes)
    };
    let joined = bytes(Kind::File, Kind::File);
    assert_eq!(joined + bytes(Kind::File, Kind::Pipe), ROUNDS * 2003, "bytes into the pipe that were seen");
    assert_eq!(joined + bytes(Kind::Pipe, Kind::File), ROUNDS * 3012, "bytes out of it");
    assert!(joined == ROUNDS * 2003 || report.lost("pipes_unmatched") > 0, "{joined} joined, and no word");
}

#[test]
fn requests_of_linux_aio_that_nobody_reaps_are_counted_one_by_one() {
    let Some((report, _)) = declared("aio-unread", &[], "aio_unread") else { return };
    assert_eq!(report.lost("aio_unread"), 5);
}

/// The kernel's view of a pipe is not to be had at one moment while other threads use it, so that some bytes may not be
/// joined. They are legs then, of both sides as many; most are joined, and none is twice.
#[test]
fn a_pipe_that_two_threads_use_at_once_keeps_every_byte() {
    const BYTES: u64 = 1999 * 4099;
    let Some(zc) = Zc::with(&[]) else { return };
    let work = fixture!("splice-race");
    let report = zc.trace(&work.command());
    let expected = work.expectation();
    let process = report.process(expected.pid);
    let joined = process.bytes("splice", Kind::File, Kind::File);
    assert_eq!(joined + process.bytes("splice", Kind::File, Kind::Pipe), BYTES, "bytes into the pipe");
    assert_eq!(joined + process.bytes("splice", Kind::Pipe, Kind::File), BYTES, "bytes out of it");
    assert!(joined > BYTES / 2, "only {joined} of {BYTES} bytes are joined");
    let found: u64 = process.paths.iter().filter(|row| row.path == "splice").map(|row| row.syscalls).sum();
    let made: u64 = expected.rows.iter().filter(|row| row.path == "splice").map(|row| row.syscalls).sum();
    assert_eq!((found, report.lost("unpaired")), (made, 0), "calls, and legs that had too little");
}
