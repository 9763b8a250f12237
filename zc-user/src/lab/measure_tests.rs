//! Numbers of made-up processes.

use zc_common::path::{Kind, Path};

use super::{
    super::fixture::{empty, flow, names, process, step},
    *,
};

const SOURCE: (Kind, &str) = (Kind::File, "/lab/source.bin (deleted)");
const SOCKET: (Kind, &str) = (Kind::Tcp, "127.0.0.1:2 → 127.0.0.1:1");

/// Four transfers by a process with 100 calls and 50 faults of its own.
fn report(tag: &str, calls: u64, user_faults: u64, faults: u64) -> Report {
    let busy = step(tag);
    let idle = Step { idle: true, ..busy };
    let mut report = empty();
    report.processes.push(process(1, &idle, 100, 50, (50, 3)));
    report.processes.push(process(2, &busy, 100 + calls, 50 + user_faults, (50 + faults, 3)));
    report
}

#[test]
fn a_transfer_costs_what_the_busy_process_did_more_than_the_idle_one() {
    let mut report = report("read+write/warm/4", 8, 0, 0);
    report.flows.push(flow(2, Path::ReadWrite, SOURCE, SOCKET, 1000, Some(2000)));
    report.flows.push(flow(
        2,
        Path::Read,
        (Kind::File, "/lib/libc.so.6"),
        (Kind::Memory, ""),
        832,
        Some(832),
    ));
    report.flows.push(flow(3, Path::Sendfile, SOURCE, SOCKET, 1000, None));
    let measured = measure(&report, &names(), &step("read+write/warm/4"), 1000).expect("numbers");
    assert_eq!((measured.system_calls, measured.mode_switches), (Some(2.0), Some(4.0)));
    assert_eq!((measured.cpu_copies, measured.device_reads), (Some(2.0), None));
    let seen: Vec<_> = measured.seen.iter().map(|seen| (seen.path, seen.bytes)).collect();
    assert_eq!(seen, [("read+write", 1000)], "not the loader's files, not those of other processes");
}

#[test]
fn copies_are_not_known_when_some_bytes_are_not_or_were_not_seen() {
    let tag = "sendfile/warm/4";
    let copies = |flows: Vec<Flow>| {
        let report = Report { flows, ..report(tag, 4, 0, 0) };
        measure(&report, &names(), &step(tag), 1000).expect("numbers").cpu_copies
    };
    assert_eq!(copies(vec![flow(2, Path::Sendfile, SOURCE, SOCKET, 1000, Some(0))]), Some(0.0));
    assert_eq!(copies(vec![flow(2, Path::Sendfile, SOURCE, SOCKET, 1000, None)]), None);
    assert_eq!(
        copies(vec![flow(2, Path::Sendfile, SOURCE, SOCKET, 999, Some(0))]),
        None,
        "a byte was not seen"
    );
    assert_eq!(copies(Vec::new()), None);
}

#[test]
fn what_the_idle_process_moved_is_no_part_of_the_transfers() {
    let mut report = report("read+write/warm/4", 8, 0, 0);
    report.flows.push(flow(1, Path::ReadWrite, SOURCE, SOCKET, 500, Some(1000)));
    report.flows.push(flow(2, Path::ReadWrite, SOURCE, SOCKET, 1500, Some(3000)));
    let measured = measure(&report, &names(), &step("read+write/warm/4"), 1000).expect("numbers");
    assert_eq!((measured.seen[0].bytes, measured.cpu_copies), (1000, Some(2.0)));
}

#[test]
fn faults_count_where_they_are_part_of_the_row_and_beyond_the_noise_elsewhere() {
    let of = |tag: &str, faults: u64| {
        let measured = measure(&report(tag, 4, faults, faults), &names(), &step(tag), 0).expect("numbers");
        (measured.faults(), measured.mode_switches)
    };
    assert_eq!(of("mmap-read/warm/4", 4), (Some(1.0), Some(4.0)));
    assert_eq!(of("sendfile/warm/4", NOISE_FAULTS), (Some(0.0), Some(2.0)));
    assert_eq!(of("sendfile/warm/4", 8), (Some(2.0), Some(6.0)));
}

#[test]
fn a_number_that_was_not_counted_is_not_known() {
    let mut report = report("sendfile/warm/4", 4, 0, 0);
    report.processes[1].syscalls = None;
    let measured = measure(&report, &names(), &step("sendfile/warm/4"), 0).expect("numbers");
    assert_eq!((measured.system_calls, measured.mode_switches), (None, None));
    report.processes.remove(0);
    assert!(measure(&report, &names(), &step("sendfile/warm/4"), 0).is_none(), "nothing to compare with");
}
