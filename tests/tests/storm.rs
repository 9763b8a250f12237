//! A thousand short-lived children beside 32 threads at full speed: nothing lost, totals exact.

use zc_tests::{compare::assert_exact, expect::Kind, fixture, zc::Zc};

#[test]
fn a_storm_is_counted_to_the_last_call() {
    let Some(zc) = Zc::with(&[]) else { return };
    let work = fixture!("storm");
    let traced = zc.run_json(&[], &work.command());
    assert!(traced.done.status.success(), "{}", traced.done.stderr);
    let expected = work.expectation();
    assert_exact("storm", &traced, &expected);
    // The sum once more, over everything the report has: no process was split in two or counted twice.
    let relayed: u64 = traced
        .report
        .processes
        .iter()
        .map(|process| process.bytes("read+write", Kind::File, Kind::Device))
        .sum();
    assert_eq!(relayed, 32 * 30_011 * 4096);
    let workers = expected.all().len();
    assert_eq!(traced.report.processes.len(), workers + 1, "the fixture's own process and {workers} workers");
}
