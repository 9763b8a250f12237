//! Threads, processes and sessions that end in ways of their own.

use std::collections::BTreeSet;

use zc_tests::{
    compare::differences,
    expect::Expectation,
    fixture,
    machine::python,
    report::{Process, Report},
    zc::{Traced, Zc},
};

/// What no count of these tests comes near; a difference below zero is far beyond it.
const SANE: u64 = 1_000_000_000;

const RUNS: usize = 5;

fn traced(zc: &Zc, name: &str, options: &[&str]) -> (Report, Expectation) {
    let work = fixture!(name);
    let Traced { report, done, .. } = zc.run_json(options, &work.command());
    assert!(done.status.success(), "{}", done.stderr);
    (report, work.expectation())
}

fn is_sane(process: &Process) {
    let Process { context_switches, page_faults, mode_switches, .. } = process;
    for count in [
        process.syscalls,
        mode_switches.syscall,
        mode_switches.exception,
        context_switches.voluntary,
        context_switches.involuntary,
        page_faults.minor,
        page_faults.major,
    ]
    .into_iter()
    .flatten()
    {
        assert!(count < SANE, "{count} in {process:?}");
    }
}

#[test]
fn an_exec_by_a_later_thread_loses_no_call_and_wraps_no_count() {
    let Some(zc) = Zc::with(&[]) else { return };
    // The first thread may be seen to end before, while or after the other one takes its id.
    for _ in 0..4 * RUNS {
        let (report, expected) = traced(&zc, "thread-exec", &[]);
        assert_eq!(differences(&report, &expected), Vec::<String>::new());
        report.assert_nothing_lost();
        let process = report.process(expected.pid);
        is_sane(process);
        assert!(process.syscalls >= Some(1009 + 101), "{:?} calls", process.syscalls);
        assert!(process.exe.as_deref().is_some_and(|exe| exe.ends_with("zc-fixture")), "{:?}", process.exe);
    }
}

#[test]
fn a_process_outlives_the_poller_of_its_ring_under_its_own_name() {
    let Some(zc) = Zc::with(&[]) else { return };
    for _ in 0..RUNS {
        let (report, expected) = traced(&zc, "ring-poller", &[]);
        assert_eq!(differences(&report, &expected), Vec::<String>::new());
        let process = report.process(expected.pid);
        is_sane(process);
        assert_eq!((process.comm.as_str(), process.exit_code), ("zc-fixture", Some(0)));
    }
}

#[test]
fn a_process_has_the_name_of_its_first_thread_whichever_ends_last() {
    let Some(zc) = Zc::with(&["python3"]) else { return };
    // PR_SET_NAME is 15; exit, 60, ends the thread that calls it and no other.
    let script = "
import ctypes, threading, time
libc = ctypes.CDLL(None)
def work():
    libc.prctl(15, b'later')
    time.sleep(0.05)
    libc.syscall(60, 0)
threading.Thread(target=work).start()
libc.syscall(60, 0)
";
    let report = zc.trace(&[python(), "-c", script]);
    let names: Vec<_> = report.processes.iter().map(|process| process.comm.as_str()).collect();
    assert_eq!(names, ["python3"]);
}

#[test]
fn a_flow_of_many_threads_is_one_flow() {
    let Some(zc) = Zc::with(&[]) else { return };
    let (report, expected) = traced(&zc, "brief-threads", &[]);
    assert_eq!(report.lost("flows_overflow"), 0);
    let name = expected.flows[0].source.as_deref();
    let flows: Vec<_> = report
        .flows
        .iter()
        .filter(|flow| flow.pid == expected.pid && flow.source.name.as_deref() == name)
        .collect();
    assert_eq!(flows.len(), 1, "{flows:?}");
    assert_eq!((flows[0].syscalls, flows[0].bytes), (1500, expected.flows[0].bytes));
}

#[test]
fn calls_by_the_32_bit_entry_are_declared_one_by_one() {
    let Some(zc) = Zc::with(&[]) else { return };
    let (report, expected) = traced(&zc, "compat-reads", &[]);
    // One more is that by which the fixture finds out whether there is such an entry.
    let calls = expected.other_calls + u64::from(expected.other_calls > 0);
    assert_eq!(report.lost("compat_calls"), calls);
    let process = report.process(expected.pid);
    let least = process.data_calls() + expected.other_calls;
    assert!(process.syscalls.is_some_and(|calls| (least..least + 64).contains(&calls)), "{process:?}");
}

/// The one process called `comm` that is reported of a command which leaves it behind.
fn left_behind(zc: &Zc, script: &str, comm: &str) {
    let command = ["sh", "-c", script, "sh", env!("CARGO_BIN_EXE_zc-fixture")];
    let path = zc.report_path("living.json");
    let done = zc.run_job(&path, &["--wait", "command"], &command).finish();
    let Traced { report, done, .. } = Traced::collect(&path, done);
    assert!(done.status.success(), "{}", done.stderr);
    let pids: BTreeSet<_> = report.pids().into_iter().collect();
    assert_eq!(pids.len(), report.processes.len(), "a process is reported twice");
    let living = report.named(comm);
    assert_eq!(living.exit_code, None, "{living:?}");
    assert!(living.exe.as_deref().is_some_and(|exe| exe.contains(comm)), "{:?}", living.exe);
    is_sane(living);
    assert!(living.syscalls > Some(0) && living.page_faults.minor > Some(0), "{living:?}");
    assert_eq!(report.process(living.ppid.expect("a parent")).exit_code, Some(0));
}

#[test]
fn a_process_that_lives_on_has_no_exit_code() {
    let Some(zc) = Zc::with(&[]) else { return };
    for _ in 0..RUNS {
        left_behind(&zc, "sleep 30 & exec true", "sleep");
    }
}

#[test]
fn a_process_that_makes_threads_while_zc_leaves_lives_on() {
    let Some(zc) = Zc::with(&[]) else { return };
    for _ in 0..RUNS {
        left_behind(&zc, "\"$1\" --churn & exec true", "zc-fixture");
    }
}

#[test]
fn what_the_programs_cost_is_told_on_request() {
    let Some(zc) = Zc::with(&[]) else { return };
    let (report, _) = traced(&zc, "reads", &["--self-stats"]);
    let cost = report.own_cost;
    assert!(cost.bpf_runs > Some(0) && cost.bpf_ns > Some(0), "{cost:?}");
    let (report, _) = traced(&zc, "reads", &[]);
    assert_eq!((report.own_cost.bpf_runs, report.own_cost.bpf_ns), (None, None));
}
