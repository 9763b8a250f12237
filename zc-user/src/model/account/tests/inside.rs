//! Rows of what functions inside the kernel did, and of what is copied out of sockets.

use zc_common::row::VALUE_COPY_UNSEEN;

use super::*;
use crate::model::report::Evidence;

const FILE: (Kind, u32) = (Kind::File, 1);
const OUTPUT: (Kind, u32) = (Kind::File, 2);
const PIPE: (Kind, u32) = (Kind::Pipe, 3);

fn seen(mut row: Row, copied: u64, by_reference: u64) -> Row {
    row.value.copied = copied;
    row.value.by_reference = by_reference;
    row
}

fn through(mut row: Row, pipe: u32) -> Row {
    row.key.through = pipe;
    row
}

#[test]
fn a_file_that_is_sent_to_another_is_copied_when_that_was_seen() {
    let sent = || row(Path::Sendfile, FILE, OUTPUT, 4096, 1);
    let report = report_of(vec![seen(sent(), 4096, 0)]);
    let (.., figures) = path(&report, 0);
    assert_eq!((figures.verdict, figures.evidence), (Verdict::Copied, Evidence::Witnessed));
    assert_eq!((figures.cpu_copied_bytes, figures.unknown_bytes), (Some(4096), 0));
    let report = report_of(vec![sent()]);
    let (.., figures) = path(&report, 0);
    assert_eq!((figures.verdict, figures.unknown_bytes), (Verdict::Unknown, 4096));
}

#[test]
fn what_came_into_a_pipe_goes_with_what_was_taken_out() {
    // 100 bytes into a pipe, all by reference; 60 of them to a file, 40 stay.
    let rows = |came| {
        vec![
            seen(row(Path::Splice, FILE, PIPE, 100, 1), 0, came),
            through(taking(seen(row(Path::Splice, FILE, OUTPUT, 60, 1), 60, 0), calls(1)), 3),
        ]
    };
    let report = report_of(rows(100));
    let (_, _, to, joined) = path(&report, 0);
    assert_eq!((to, joined.verdict, joined.evidence), (Kind::File, Verdict::Copied, Evidence::Witnessed));
    assert_eq!((joined.cpu_copied_bytes, joined.unknown_bytes), (Some(60), 0));
    let (_, _, to, leg) = path(&report, 1);
    assert_eq!((to, leg.bytes, leg.by_reference_bytes), (Kind::Pipe, 40, Some(40)));
    assert_eq!((leg.verdict, leg.unknown_bytes), (Verdict::ZeroCopy, 0));
    // Of which it is not known how all of them came.
    let report = report_of(rows(99));
    let (_, _, _, joined) = path(&report, 0);
    assert_eq!((joined.cpu_copied_bytes, joined.unknown_bytes), (Some(60), 60));
    assert_eq!(joined.verdict, Verdict::Unknown);
}

#[test]
fn copies_of_a_leg_go_with_bytes_that_were_joined_later() {
    let leg = seen(row(Path::Splice, PIPE, OUTPUT, 100, 2), 100, 0);
    let mut late = through(taking(row(Path::Splice, FILE, OUTPUT, 60, 1), calls(1)), 3);
    late.key.flags = SPECIAL;
    let report = report_of(vec![row(Path::Splice, FILE, PIPE, 60, 1), leg, late]);
    let of_pipe = report.processes[0].paths.iter().find(|row| row.source == Kind::Pipe).expect("the leg");
    assert_eq!((of_pipe.figures.bytes, of_pipe.figures.cpu_copied_bytes), (40, Some(40)));
    assert_eq!(of_pipe.figures.verdict, Verdict::Copied);
}

#[test]
fn reads_from_sockets_are_witnessed_when_every_copy_was_seen() {
    let evidence = |kind, received, flags, key_flags| {
        let mut read = row(Path::Read, (kind, 1), MEMORY, 100, 1);
        read.value.flags = flags;
        read.key.flags = key_flags;
        let mut samples = Samples { rows: vec![read], ..samples() };
        samples.counted.received = received;
        let report = account(&samples, Tool::this());
        let (.., figures) = path(&report, 0);
        assert_eq!((figures.verdict, figures.cpu_copied_bytes), (Verdict::Copied, Some(100)));
        figures.evidence
    };
    for kind in [Kind::Tcp, Kind::Udp, Kind::Unix] {
        assert_eq!(evidence(kind, true, 0, 0), Evidence::Witnessed, "{kind:?}");
        assert_eq!(evidence(kind, true, VALUE_COPY_UNSEEN, 0), Evidence::Inferred, "{kind:?}");
        assert_eq!(evidence(kind, false, 0, 0), Evidence::Inferred, "{kind:?}");
        assert_eq!(evidence(kind, true, 0, RING_SOURCE), Evidence::Inferred, "{kind:?}");
    }
    for kind in [Kind::File, Kind::Pipe] {
        assert_eq!(evidence(kind, true, 0, 0), Evidence::Inferred, "{kind:?}");
    }
}
