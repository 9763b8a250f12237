//! The accounting against hand-made samples, and its conservation against random ones.

mod inside;

use proptest::prelude::*;
use zc_common::{
    path::{Kind, Path},
    row::{Costs, DIRECT_SOURCE, RING_DESTINATION, RING_SOURCE, RowKey, RowValue, SPECIAL},
};

use super::*;
use crate::model::{
    fixture::{samples, totals},
    reason::Reason,
    report::{End, Verdict, Via},
    samples::{ObjectSample, Row},
};

const PID: u32 = 812;

/// A row of process 812: path, source, destination, bytes, calls.
fn row(path: Path, from: (Kind, u32), to: (Kind, u32), bytes: u64, calls: u64) -> Row {
    let key = RowKey {
        path: path as u8,
        source_kind: from.0 as u8,
        source: from.1,
        destination_kind: to.0 as u8,
        destination: to.1,
        tid: PID,
        ..RowKey::default()
    };
    let own = Costs { calls, ..Costs::default() };
    let value =
        RowValue { tgid: PID, process_start_ns: 1, bytes, transfers: calls, own, ..RowValue::default() };
    Row { key, value, seen: crate::model::seen::Seen::default() }
}

fn taking(mut row: Row, taken: Costs) -> Row {
    row.value.taken = taken;
    row
}

fn calls(calls: u64) -> Costs {
    Costs { calls, ..Costs::default() }
}

const MEMORY: (Kind, u32) = (Kind::Memory, 0);

fn report_of(rows: Vec<Row>) -> Report {
    account(&Samples { rows, ..samples() }, Tool::this())
}

fn path(report: &Report, index: usize) -> (Path, Kind, Kind, &Figures) {
    let row = &report.processes[0].paths[index];
    (row.path, row.source, row.destination, &row.figures)
}

#[test]
fn a_relay_is_one_row_with_two_copies_and_no_legs() {
    let report = report_of(vec![
        row(Path::Read, (Kind::File, 1), MEMORY, 4096, 1),
        taking(row(Path::ReadWrite, (Kind::File, 1), (Kind::Tcp, 2), 4096, 1), calls(1)),
    ]);
    assert_eq!(report.processes[0].paths.len(), 1);
    let (name, source, destination, figures) = path(&report, 0);
    assert_eq!((name, source, destination), (Path::ReadWrite, Kind::File, Kind::Tcp));
    assert_eq!((figures.bytes, figures.transfers, figures.syscalls), (4096, 1, 2));
    assert_eq!((figures.cpu_copied_bytes, figures.unknown_bytes), (Some(8192), 0));
    assert_eq!((figures.mode_switches, figures.verdict), (4, Verdict::Copied));
    assert_eq!(figures.reason, Some(Reason::ThroughMemory));
    assert_eq!(report.lost[LOST_UNPAIRED], 0);
}

#[test]
fn the_read_at_end_of_file_stays_a_leg_without_bytes() {
    let mut read = row(Path::Read, (Kind::File, 1), MEMORY, 4096, 2);
    read.value.transfers = 1;
    let pair = taking(row(Path::ReadWrite, (Kind::File, 1), (Kind::Tcp, 2), 4096, 1), calls(1));
    let report = report_of(vec![read, pair]);
    let (name, _, _, figures) = path(&report, 1);
    assert_eq!((name, figures.bytes, figures.transfers, figures.syscalls), (Path::Read, 0, 0, 1));
    assert_eq!((figures.cpu_copied_bytes, figures.verdict), (None, Verdict::Unknown));
    assert_eq!(figures.reason, Some(Reason::NoBytes));
}

#[test]
fn what_a_pair_took_comes_off_the_leg_of_the_same_source_across_threads() {
    let mut other_thread = row(Path::Read, (Kind::File, 1), MEMORY, 1000, 1);
    other_thread.key.tid = 900;
    other_thread.value.own.voluntary = 3;
    let taken = Costs { calls: 2, voluntary: 3, ..Costs::default() };
    let report = report_of(vec![
        row(Path::Read, (Kind::File, 1), MEMORY, 1000, 1),
        other_thread,
        row(Path::Read, (Kind::File, 7), MEMORY, 500, 1),
        taking(row(Path::ReadWrite, (Kind::File, 1), (Kind::Pipe, 2), 1800, 1), taken),
    ]);
    let (_, _, _, pair) = path(&report, 0);
    assert_eq!((pair.syscalls, pair.context_switches.unwrap().voluntary), (3, 3));
    let (name, _, _, leg) = path(&report, 1);
    assert_eq!((name, leg.bytes, leg.syscalls, leg.transfers), (Path::Read, 700, 1, 1));
    assert_eq!(leg.context_switches.unwrap().voluntary, 0);
    assert_eq!(report.lost[LOST_UNPAIRED], 0);
}

#[test]
fn direct_reads_are_legs_of_their_own_when_pairs_take_from_them() {
    let mut direct = row(Path::Read, (Kind::File, 0), MEMORY, 4096, 1);
    direct.key.flags = DIRECT_SOURCE;
    let mut pair = taking(row(Path::ReadWrite, (Kind::File, 0), (Kind::Tcp, 2), 4096, 1), calls(1));
    pair.key.flags = DIRECT_SOURCE;
    let report = report_of(vec![direct, row(Path::Read, (Kind::File, 0), MEMORY, 100, 1), pair]);
    let (_, _, _, figures) = path(&report, 0);
    assert_eq!((figures.cpu_copied_bytes, figures.unknown_bytes), (Some(4096), 4096));
    assert_eq!((figures.verdict, figures.reason), (Verdict::Unknown, Some(Reason::DirectIo)));
    let (_, _, _, leg) = path(&report, 1);
    assert_eq!((leg.bytes, leg.cpu_copied_bytes, leg.verdict), (100, Some(100), Verdict::Copied));
    assert_eq!(report.lost[LOST_UNPAIRED], 0);
}

/// As requests, all of it is no call; and yet both legs lose a transfer.
#[test]
fn requests_that_were_joined_late_take_from_both_legs() {
    const PIPE: (Kind, u32) = (Kind::Pipe, 3);
    let flagged = |from, to, flags| {
        let mut leg = row(Path::Splice, from, to, 100, 0);
        leg.key.flags = flags;
        leg.value.transfers = 1;
        leg
    };
    let mut joined = flagged((Kind::File, 1), (Kind::Tcp, 2), RING_SOURCE | RING_DESTINATION | SPECIAL);
    joined.key.through = PIPE.1;
    joined.value.own = calls(1);
    let report = report_of(vec![
        flagged((Kind::File, 1), PIPE, RING_SOURCE),
        flagged(PIPE, (Kind::Tcp, 2), RING_DESTINATION),
        taking(joined, calls(1)),
    ]);
    let (_, from, to, figures) = path(&report, 0);
    assert_eq!((from, to), (Kind::File, Kind::Tcp));
    assert_eq!((figures.bytes, figures.transfers, figures.syscalls), (100, 1, 0));
    assert_eq!(report.processes[0].paths[0].via, Via::IoUring);
    assert_eq!((report.processes[0].paths.len(), report.lost[LOST_UNPAIRED]), (1, 0));
}

#[test]
fn pairs_that_took_more_than_was_read_are_counted_and_never_go_below_zero() {
    let report = report_of(vec![
        row(Path::Read, (Kind::File, 1), MEMORY, 100, 1),
        taking(row(Path::ReadWrite, (Kind::File, 1), (Kind::Tcp, 2), 150, 1), calls(1)),
        taking(row(Path::ReadWrite, (Kind::Pipe, 9), (Kind::Tcp, 2), 10, 1), calls(1)),
    ]);
    assert_eq!(report.lost[LOST_UNPAIRED], 2);
    assert_eq!(report.processes[0].paths.len(), 2);
}

#[test]
fn sendfile_is_unknown_until_it_is_witnessed() {
    let report = report_of(vec![row(Path::Sendfile, (Kind::File, 1), (Kind::Tcp, 2), 1 << 20, 16)]);
    let (_, _, _, figures) = path(&report, 0);
    assert_eq!((figures.cpu_copied_bytes, figures.by_reference_bytes), (None, None));
    assert_eq!((figures.unknown_bytes, figures.mode_switches), (1 << 20, 32));
    assert_eq!((figures.verdict, figures.reason), (Verdict::Unknown, Some(Reason::Sendfile)));
}

#[test]
fn a_process_id_used_again_is_two_processes() {
    let mut second = row(Path::Read, (Kind::File, 1), MEMORY, 5, 1);
    second.value.process_start_ns = 2;
    let report = report_of(vec![row(Path::Read, (Kind::File, 1), MEMORY, 7, 1), second]);
    let bytes: Vec<_> = report.processes.iter().map(|process| (process.start_ns, process.bytes())).collect();
    assert_eq!(bytes, [(1, 7), (2, 5)]);
}

#[test]
fn what_storage_delivered_for_a_read_goes_with_its_pair() {
    let mut read = row(Path::Read, (Kind::File, 1), MEMORY, 100, 2);
    read.value.own.device_read_bytes = 16_384;
    let mut pair = taking(row(Path::ReadWrite, (Kind::File, 1), (Kind::Tcp, 2), 60, 1), calls(1));
    pair.value.taken.device_read_bytes = 12_288;
    let mut samples = samples();
    samples.rows = vec![read, pair];
    let mut thread = totals(PID, 1, VALUE_STORAGE_COUNTED);
    thread.own.device_read_bytes = 20_480;
    samples.live_totals = vec![thread];
    let report = account(&samples, Tool::this());
    let process = &report.processes[0];
    let rows: Vec<_> = process.paths.iter().map(|row| (row.path, row.figures.device_read_bytes)).collect();
    assert_eq!(rows, [(Path::ReadWrite, Some(12_288)), (Path::Read, Some(4_096))]);
    assert_eq!(process.device_read_bytes, Some(20_480));
}

#[test]
fn what_was_not_counted_is_null_and_not_zero() {
    let mut samples = samples();
    samples.counted = Counted { switches: false, faults: false, storage: false, received: false };
    samples.rows = vec![row(Path::Read, (Kind::File, 1), MEMORY, 7, 1)];
    let report = account(&samples, Tool::this());
    let process = &report.processes[0];
    assert_eq!((process.syscalls, process.context_switches, process.page_faults), (None, None, None));
    assert_eq!(process.comm, None);
    assert_eq!(
        (process.paths[0].figures.context_switches, process.paths[0].figures.page_faults),
        (None, None)
    );
    assert_eq!((process.device_read_bytes, process.paths[0].figures.device_read_bytes), (None, None));

    samples.live_totals = vec![totals(PID, 1, VALUE_CALLS_COUNTED), totals(PID, 2, VALUE_FAULTS_COUNTED)];
    let report = account(&samples, Tool::this());
    let process = &report.processes[0];
    assert_eq!(process.syscalls, None, "one thread did not count its calls");
    assert_eq!(process.context_switches, Some(ContextSwitches { voluntary: 6, involuntary: 4 }));
}

#[test]
fn totals_of_ended_and_of_living_threads_add_up_once() {
    let both = VALUE_CALLS_COUNTED | VALUE_FAULTS_COUNTED;
    let mut ended = row(Path::Thread, MEMORY, MEMORY, 0, 0);
    ended.key.tid = 813;
    ended.value.flags = both;
    ended.value.own = Costs { calls: 100, voluntary: 1, involuntary: 2, minor: 30, major: 4, ..Costs::NONE };
    ended.value.transfers = 20;
    let mut samples = samples();
    samples.rows = vec![ended];
    let mut stale = totals(PID, 813, both);
    stale.thread_start_ns = 0;
    samples.live_totals = vec![totals(PID, 814, both), stale];
    let report = account(&samples, Tool::this());
    let process = &report.processes[0];
    assert_eq!(process.syscalls, Some(110));
    assert_eq!(process.mode_switches.syscall, Some(220));
    assert_eq!(process.mode_switches.exception, Some(54));
    assert_eq!(process.mode_switches.interrupt, None);
    assert_eq!(process.context_switches, Some(ContextSwitches { voluntary: 4, involuntary: 4 }));
    assert_eq!(process.page_faults, Some(PageFaults { minor: 42, major: 5, copy_on_write: None }));
    assert!(process.paths.is_empty());
}

fn object(name: &str, inode: u64) -> ObjectSample {
    ObjectSample {
        kind: Kind::File,
        device: 5,
        inode,
        generation: 0,
        deleted: false,
        name: Some(name.to_owned()),
        local: None,
    }
}

#[test]
fn flows_have_named_ends_and_merge_ids_of_one_object() {
    let mut samples = samples();
    samples.rows = vec![
        row(Path::Read, (Kind::File, 1), MEMORY, 10, 1),
        row(Path::Read, (Kind::File, 2), MEMORY, 20, 1),
        row(Path::Read, (Kind::File, 3), MEMORY, 40, 1),
        row(Path::Read, (Kind::File, 0), MEMORY, 80, 1),
        row(Path::Write, MEMORY, (Kind::Udp, 4), 5, 1),
        row(Path::Write, MEMORY, (Kind::Pipe, 99), 5, 1),
    ];
    let nameless = ObjectSample { name: None, local: Some("127.0.0.1:53".to_owned()), ..object("", 9) };
    let deleted = ObjectSample { deleted: true, ..object("/a", 7) };
    samples.objects = [(1, object("/a", 7)), (2, deleted), (3, object("/a", 8)), (4, nameless)].into();
    let report = account(&samples, Tool::this());
    let flows: Vec<_> = report
        .flows
        .iter()
        .map(|flow| (flow.figures.bytes, flow.source.name.as_deref(), flow.destination.name.as_deref()))
        .collect();
    assert_eq!(
        flows,
        [(40, Some("/a"), None), (30, Some("/a (deleted)"), None), (5, None, Some("127.0.0.1:53"))]
    );
    assert_eq!(report.flows[0].destination, End { kind: Kind::Memory, name: None, local: None });
}

#[test]
fn samples_survive_a_file() {
    let mut samples = samples();
    samples.rows = vec![row(Path::Sendfile, (Kind::File, 1), (Kind::Tcp, 2), 7, 1)];
    samples.objects = [(1, object("/a", 7))].into();
    samples.live_totals = vec![totals(PID, 1, 3)];
    let text = serde_json::to_string(&samples).unwrap();
    let again: Samples = serde_json::from_str(&text).unwrap();
    assert_eq!(account(&again, Tool::this()), account(&samples, Tool::this()));
}

/// What threads do, before it becomes rows: reads of an object, of which some bytes are relayed.
#[derive(Clone, Debug)]
struct Read {
    thread: u32,
    writer: u32,
    source: u32,
    direct: bool,
    bytes: u64,
    relayed: u64,
    destination: u32,
}

fn reads() -> impl Strategy<Value = Vec<Read>> {
    let read = (1_u32..4, 1_u32..4, 0_u32..4, any::<bool>(), 0_u64..10_000, 0_u64..20_000, 0_u32..3)
        .prop_map(|(thread, writer, source, direct, bytes, relayed, destination)| {
            let relayed = relayed.min(bytes);
            Read { thread, writer, source, direct, bytes, relayed, destination }
        });
    prop::collection::vec(read, 0..40)
}

fn rows_of(reads: &[Read]) -> Vec<Row> {
    let kind = |source| if source == 3 { Kind::Tty } else { Kind::File };
    let mut rows = Vec::new();
    for read in reads {
        let flags = if read.direct { DIRECT_SOURCE } else { 0 };
        let from = (kind(read.source), read.source);
        let mut leg = row(Path::Read, from, MEMORY, read.bytes, 1);
        leg.key.tid = read.thread;
        leg.key.flags = flags;
        leg.value.transfers = u64::from(read.bytes > 0);
        rows.push(leg);
        if read.relayed > 0 {
            let to = (Kind::Tcp, 10 + read.destination);
            let mut pair = taking(row(Path::ReadWrite, from, to, read.relayed, 1), calls(1));
            pair.key.tid = read.writer;
            pair.key.flags = flags;
            rows.push(pair);
        }
    }
    rows
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bytes_and_calls_are_conserved(reads in reads()) {
        let mut samples = samples();
        samples.rows = rows_of(&reads);
        samples.objects = (1..13).map(|id| (id, object("/x", u64::from(id)))).collect();
        let report = account(&samples, Tool::this());
        prop_assert_eq!(report.lost[LOST_UNPAIRED], 0);

        let read: u64 = reads.iter().map(|read| read.bytes).sum();
        let relayed: u64 = reads.iter().map(|read| read.relayed).sum();
        let pairs = reads.iter().filter(|read| read.relayed > 0).count() as u64;
        let figures: Vec<_> = report.processes.iter().flat_map(|process| &process.paths).collect();
        let bytes = |path| figures.iter().filter(|row| row.path == path).map(|row| row.figures.bytes).sum::<u64>();
        prop_assert_eq!(bytes(Path::ReadWrite), relayed);
        prop_assert_eq!(bytes(Path::Read) + bytes(Path::DirectRead), read - relayed);
        let calls: u64 = figures.iter().map(|row| row.figures.syscalls).sum();
        prop_assert_eq!(calls, reads.len() as u64 + pairs);
        for row in &figures {
            prop_assert!(row.figures.unknown_bytes <= row.figures.bytes);
            prop_assert!(row.figures.cpu_copied_bytes.unwrap_or(0) <= 2 * row.figures.bytes);
            prop_assert_ne!(row.figures.verdict, Verdict::ZeroCopy);
        }
        for row in &figures {
            let flows = report.flows.iter().filter(|flow| {
                (flow.path, flow.source.kind, flow.destination.kind) == (row.path, row.source, row.destination)
            });
            let (bytes, calls) = flows
                .fold((0, 0), |sum, flow| (sum.0 + flow.figures.bytes, sum.1 + flow.figures.syscalls));
            prop_assert!(bytes <= row.figures.bytes && calls <= row.figures.syscalls);
        }
    }
}
