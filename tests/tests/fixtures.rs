//! The fixtures themselves, without zc: what they say they did is what the kernel and strace saw.

use std::collections::BTreeSet;

use zc_tests::{
    expect::{Expectation, Kind, Row},
    fixture,
    fixtures::all,
    machine::require_cmd,
    witness::{BOTH, NEITHER, READS, RECEIVES, SENDS, Strace, WRITES},
};

/// Too many calls for strace, or calls that only one of the two counts as such of data; the bytes are checked by
/// the kernel's counters all the same.
const NOT_FOR_STRACE: [&str; 4] = ["storm", "compat-reads", "clones", "recv-zerocopy"];

/// Results of calls with `MSG_TRUNC` are more than the bytes that reached memory.
const WITHOUT_BYTES: [&str; 1] = ["messages-truncated"];

fn agrees_with_the_kernel(name: &str, expected: &Expectation) {
    for process in expected.all() {
        if process.execs {
            assert!(process.rchar > process.bytes_read(), "{name}: the loader reads more than the plan");
        } else {
            assert_eq!(process.bytes_read(), process.rchar, "{name}: bytes read by {}", process.pid);
        }
        assert_eq!(process.bytes_written(), process.wchar, "{name}: bytes written by {}", process.pid);
        for flow in &process.flows {
            assert!(flow.source.is_some() || flow.destination.is_some(), "{name}: a flow without any name");
            let rows: u64 =
                process.rows.iter().filter(|row| row.path == flow.path).map(|row| row.bytes).sum();
            assert!(flow.bytes <= rows, "{name}: a flow larger than its rows");
        }
    }
    let pids: BTreeSet<_> = expected.all().iter().map(|process| process.pid).collect();
    assert_eq!(pids.len(), expected.all().len(), "{name}: two processes with one id");
}

#[test]
fn every_plan_equals_what_the_kernel_counted() {
    for fixture in all() {
        let work = fixture!(fixture.name);
        agrees_with_the_kernel(fixture.name, &work.run_plain());
    }
}

#[test]
fn every_plan_equals_what_strace_saw() {
    if !require_cmd("strace") {
        return;
    }
    for fixture in all() {
        if NOT_FOR_STRACE.contains(&fixture.name) {
            continue;
        }
        let work = fixture!(fixture.name);
        let trace = Strace::data_calls(&work.command());
        let expected = work.expectation();
        agrees_with_the_kernel(fixture.name, &expected);
        // The fixture's first process prepares and writes the expectation down; those that ran execve have
        // their loader's calls beside the planned ones. Everything else is planned, threads included.
        let execs: BTreeSet<u32> =
            expected.all().iter().filter(|process| process.execs).map(|process| process.pid).collect();
        let first = trace.first_tid();
        let planned = |tid| tid != first && !execs.contains(&tid);
        let plans = || expected.all().into_iter().filter(|process| !process.execs);
        let [reads, writes, both, neither, receives, sends] =
            [&READS[..], &WRITES, &BOTH, &NEITHER, &RECEIVES, &SENDS].map(|names| trace.sum(names, planned));
        let name = fixture.name;
        assert_eq!(
            reads.0 + writes.0 + both.0 + neither.0 + receives.0 + sends.0,
            plans().map(Expectation::data_calls).sum::<u64>(),
            "{name}: calls"
        );
        assert_eq!(reads.1 + both.1, plans().map(Expectation::bytes_read).sum::<u64>(), "{name}: bytes read");
        assert_eq!(
            writes.1 + both.1,
            plans().map(Expectation::bytes_written).sum::<u64>(),
            "{name}: bytes written"
        );
        if !WITHOUT_BYTES.contains(&name) {
            let planned = plans().map(bytes_received).sum::<u64>();
            assert_eq!(receives.1, planned, "{name}: bytes received");
        }
        assert_eq!(sends.1, plans().map(bytes_sent).sum::<u64>(), "{name}: bytes sent");
    }
}

/// Bytes that came in by calls that the kernel does not count: from a pipe, vmsplice.
fn bytes_received(process: &Expectation) -> u64 {
    let is_read = |row: &Row| ["read", "read+write"].contains(&&*row.path) && row.source != Kind::Pipe;
    let of = |row: &&Row| row.via == "syscall" && is_read(row);
    process.rows.iter().filter(of).map(|row| row.bytes - row.rchar).sum()
}

/// Bytes that went out by calls that the kernel does not count.
fn bytes_sent(process: &Expectation) -> u64 {
    let paths = ["write", "read+write", "mmap+write", "send-zerocopy"];
    let of = |row: &&Row| row.via == "syscall" && paths.contains(&&*row.path);
    process.rows.iter().filter(of).map(|row| row.bytes - row.wchar).sum()
}

#[test]
fn counts_that_a_batch_could_hide_are_as_the_fixtures_name_them() {
    let children = fixture!("children").run_plain();
    assert_eq!(children.others.len(), 307);
    let storm = fixture!("storm").run_plain();
    assert_eq!((storm.all().len(), storm.threads), (1002, 32));
    let threads = fixture!("threads").run_plain();
    assert_eq!(threads.threads, 17);
}

#[test]
fn fault_and_switch_fixtures_are_seen_by_the_kernel_counters() {
    let anonymous = fixture!("anonymous-pages").run_plain();
    assert!((10_007..10_007 + 512).contains(&anonymous.minor), "{} minor faults", anonymous.minor);
    let fresh = fixture!("fresh-buffers").run_plain();
    let measured: u64 = fresh.rows.iter().filter_map(|row| row.minor).sum();
    assert!(measured == 505 && fresh.minor >= 505, "{measured} of {} minor faults", fresh.minor);
    let game = fixture!("ping-pong").run_plain();
    for player in game.all() {
        let within: u64 = player.rows.iter().filter_map(|row| row.voluntary).sum();
        assert!(within <= player.voluntary, "{within} of {} switches", player.voluntary);
        assert!(
            player.voluntary + player.involuntary >= 1009,
            "{} + {}",
            player.voluntary,
            player.involuntary
        );
    }
}

#[test]
fn a_wrong_name_is_refused() {
    let work = fixture!("no-such-fixture");
    let done = zc_tests::job::Job::new(&work.command()).finish();
    assert_eq!(done.code(), 1);
    assert!(done.stderr.contains("usage"), "{}", done.stderr);
}
