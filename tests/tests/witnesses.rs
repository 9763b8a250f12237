//! Numbers that strace and perf also have, of the same fixtures.

use zc_tests::{
    expect::{Expectation, Kind},
    fixture, machine,
    report::Process,
    witness::{PerfStat, Strace},
    zc::Zc,
};

/// All calls of a worker, from its birth to `exit_group`: the plan does not know how many those are, but
/// they are the same in every run, so strace may count them in another.
fn calls_equal_strace(name: &str) {
    let Some(zc) = Zc::with(&["strace"]) else { return };
    let work = fixture!(name);
    let trace = Strace::all_calls(&work.command());
    let by_strace: Vec<u64> =
        work.expectation().all().iter().map(|process| trace.count(process.pid)).collect();
    let work = fixture!(name);
    let report = zc.trace(&work.command());
    let expected = work.expectation();
    let by_zc: Vec<u64> =
        expected.all().iter().map(|process| report.process(process.pid).syscalls.unwrap_or(0)).collect();
    assert!(by_strace.iter().all(|calls| *calls > 3), "strace saw the workers of {name}: {by_strace:?}");
    assert_eq!(by_zc, by_strace, "calls of each process of {name}");
}

#[test]
fn all_calls_of_a_reader_are_those_that_strace_lists() {
    calls_equal_strace("reads");
}

#[test]
fn all_calls_on_many_kinds_are_those_that_strace_lists() {
    calls_equal_strace("kinds");
}

#[test]
fn all_calls_around_reused_descriptors_are_those_that_strace_lists() {
    calls_equal_strace("reused-descriptors");
}

#[test]
fn all_calls_of_children_are_those_that_strace_lists() {
    calls_equal_strace("pairs-forked");
}

/// Traces `perf stat -- fixture`, so that perf and zc count one and the same run, and gives both sums.
fn beside_perf(name: &str) -> Option<(PerfStat, PerfStat, Expectation, usize)> {
    let zc = Zc::with(&["perf"])?;
    let work = fixture!(name);
    let output = work.dir().join("perf");
    let report = zc.trace(&PerfStat::command(&output, &work.command()));
    report.assert_nothing_lost();
    let perf = PerfStat::read(&output);
    // Everything that runs the fixture's program; perf's own process is called perf.
    let ours: Vec<&Process> =
        report.processes.iter().filter(|process| process.comm == "zc-fixture").collect();
    let sum = |count: &dyn Fn(&Process) -> Option<u64>| -> u64 {
        ours.iter().map(|process| count(process).expect("a count of every process")).sum()
    };
    let zc = PerfStat {
        syscalls: sum(&|process| process.syscalls),
        context_switches: sum(&|process| {
            Some(process.context_switches.voluntary? + process.context_switches.involuntary?)
        }),
        minor_faults: sum(&|process| process.page_faults.minor),
    };
    Some((zc, perf, work.expectation(), ours.len()))
}

/// perf counts its child from the exec, zc from the fork: some twenty calls and some hundred faults of
/// copied pages lie between, and one wait for perf to say go. At the end of each process either may look a
/// little earlier than the other.
fn agrees_with_perf(name: &str) -> Option<(PerfStat, Expectation)> {
    let (zc, perf, expected, processes) = beside_perf(name)?;
    let ends = 4 * processes as u64;
    let close = |what: &str, zc: u64, perf: u64, before_exec: u64| {
        assert!(
            (perf.saturating_sub(ends)..=perf + before_exec + ends).contains(&zc),
            "{name}: {zc} {what} by zc, {perf} by perf"
        );
    };
    assert!(
        (perf.syscalls..=perf.syscalls + 64).contains(&zc.syscalls),
        "{name}: {} calls by zc, {} by perf",
        zc.syscalls,
        perf.syscalls
    );
    close("switches", zc.context_switches, perf.context_switches, 16);
    close("minor faults", zc.minor_faults, perf.minor_faults, 512);
    Some((zc, expected))
}

#[test]
fn calls_of_a_whole_tree_are_those_that_perf_counts() {
    agrees_with_perf("reads");
    agrees_with_perf("pairs-forked");
}

#[test]
fn faults_of_a_whole_tree_are_those_that_perf_counts() {
    let Some((zc, _)) = agrees_with_perf("anonymous-pages") else { return };
    assert!(zc.minor_faults >= 10_007, "{} minor faults", zc.minor_faults);
}

#[test]
fn switches_of_a_whole_tree_are_those_that_perf_counts() {
    let Some((zc, expected)) = agrees_with_perf("ping-pong") else { return };
    let own: u64 = expected.all().iter().map(|process| process.voluntary + process.involuntary).sum();
    assert!(
        zc.context_switches >= own && own >= 2 * 1009 - 2,
        "{} by zc, {own} by themselves",
        zc.context_switches
    );
}

#[test]
fn a_fault_in_user_mode_is_two_mode_switches() {
    let Some(zc) = Zc::with(&[]) else { return };
    let work = fixture!("anonymous-pages");
    let report = zc.trace(&work.command());
    let process = report.process(work.expectation().pid);
    let exceptions = process.mode_switches.exception.expect("exceptions are counted");
    // Every page of the plan; no more than all faults, and a few that were counted as neither sort.
    let faults = process.page_faults.minor.unwrap_or(0) + process.page_faults.major.unwrap_or(0);
    assert!(
        (2 * 10_007..=2 * faults + 128).contains(&exceptions),
        "{exceptions} switches for {faults} faults"
    );
}

#[test]
fn faults_within_a_call_are_no_mode_switches() {
    let Some(zc) = Zc::with(&[]) else { return };
    let work = fixture!("fresh-buffers");
    let report = zc.trace(&work.command());
    let process = report.process(work.expectation().pid);
    let row = process.row("read", Kind::File, Kind::Memory).expect("the row of reads");
    assert_eq!((row.page_faults.minor, row.mode_switches), (Some(505), Some(2 * row.syscalls)));
    let outside = process.page_faults.minor.unwrap_or(0) + process.page_faults.major.unwrap_or(0) - 505;
    let exceptions = process.mode_switches.exception.expect("exceptions are counted");
    assert!(exceptions <= 2 * outside + 128, "{exceptions} switches, {outside} faults outside of reads");
}

#[test]
fn bystanders_are_not_in_the_report() {
    let Some(zc) = Zc::with(&[]) else { return };
    let mut bystander = zc_tests::job::Job::new(&["dd", "of=/dev/null", "bs=1"]).with_input().start();
    let stranger = u32::try_from(bystander.pid()).expect("a process id");
    let work = fixture!("reads");
    let path = zc.report_path("bystander.json");
    let running = zc.run_job(&path, &[], &work.command()).start();
    // Feeds the bystander for as long as the traced command runs.
    machine::wait_for("the fixture's end", || {
        bystander.input(&[7; 4099]);
        work.expect_path().exists().then_some(())
    });
    let traced = zc_tests::zc::Traced::collect(&path, running.finish());
    let pids = traced.report.pids();
    assert!(!pids.contains(&stranger) && pids.contains(&work.expectation().pid), "{pids:?}");
    assert!(!pids.contains(&std::process::id()), "the test itself is in the report: {pids:?}");
}
