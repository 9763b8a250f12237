//! Looking at some connections only: what is said of those is as true as ever, and of the others that it is not known.

use zc_tests::{
    compare::differences,
    fixture,
    report::{Report, Row},
    zc::Zc,
};

const REASON: &str = "not witnessed: zc was told to look at some connections only";

/// The row of what was sent, when all else is as the fixture knows.
fn sent(zc: &Zc, options: &[&str]) -> (Report, Row) {
    let work = fixture!("sendfile-connections");
    let traced = zc.run_json(options, &work.command());
    assert!(traced.done.status.success(), "{}", traced.done.stderr);
    let expected = work.expectation();
    let mut wrong = differences(&traced.report, &expected);
    if !options.is_empty() {
        wrong.retain(|line| !line.contains("pages are seen to leave"));
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert_eq!(traced.report.losses(), Vec::new());
    let process = traced.report.process(expected.pid);
    let row = process.paths.iter().find(|row| row.path == "sendfile").expect("a row of sendfile").clone();
    (traced.report, row)
}

#[test]
fn every_connection_is_looked_at_unless_asked_otherwise() {
    let Some(zc) = Zc::with(&[]) else { return };
    let (report, row) = sent(&zc, &[]);
    assert!(report.sampling.is_none());
    assert_eq!((row.by_reference_bytes, row.unknown_bytes), (Some(row.bytes), Some(0)));
    assert_eq!(row.verdict, "zero-copy");
}

/// That all 67 connections are chosen, or none, has a chance of one in 10 000 000.
#[test]
fn connections_are_known_wholly_or_said_to_be_left_out() {
    let Some(zc) = Zc::with(&[]) else { return };
    let (report, row) = sent(&zc, &["--sample-connections", "4"]);
    assert_eq!(report.sampling.map(|sampling| sampling.connections_one_in), Some(4));
    let (known, unknown) = (row.by_reference_bytes.unwrap_or(0), row.unknown_bytes.unwrap_or(0));
    assert_eq!((known + unknown, row.cpu_copied_bytes), (row.bytes, Some(0)));
    assert!(known > 0 && unknown > 0, "{known} known and {unknown} unknown");
    assert_eq!((row.verdict.as_str(), row.reason.as_deref()), ("unknown", Some(REASON)));

    let flows: Vec<_> = report.flows.iter().filter(|flow| flow.path == "sendfile").collect();
    let mut seen = 0;
    for flow in &flows {
        if flow.verdict == "zero-copy" {
            assert_eq!((flow.by_reference_bytes, flow.evidence.as_str()), (Some(flow.bytes), "witnessed"));
            seen += flow.bytes;
        } else {
            assert_eq!((flow.verdict.as_str(), flow.unknown_bytes), ("unknown", Some(flow.bytes)));
            assert_eq!(flow.reason.as_deref(), Some(REASON));
        }
    }
    assert_eq!((flows.len() as u64, seen), (67, known));
}
