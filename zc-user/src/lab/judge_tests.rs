//! Judgements on made-up numbers.

use super::{
    super::{
        fixture::no_facts,
        measure::Seen,
        rows::{Row, find},
    },
    *,
};
use crate::model::report::{Evidence, Verdict, Via};

fn seen(path: &'static str, bytes: u64, unknown_bytes: u64) -> Seen {
    Seen {
        path,
        via: Via::Syscall,
        source: "file",
        destination: "tcp",
        bytes,
        cpu_copied_bytes: None,
        unknown_bytes,
        device_read_bytes: None,
        device_sent_bytes: None,
        verdict: Verdict::Unknown,
        evidence: Evidence::Inferred,
        reason: None,
    }
}

/// As the textbook has it for read + write.
fn textbook() -> Measured {
    Measured {
        transfers: 256,
        bytes: 1000,
        system_calls: Some(2.0),
        mode_switches: Some(4.0),
        cpu_copies: Some(2.0),
        device_reads: Some(1.0),
        device_sends: Some(1.0),
        minor_faults: Some(0.0),
        major_faults: Some(0.0),
        user_faults: Some(0.0),
        seen: vec![seen("read+write", 1000, 0)],
        ..Measured::default()
    }
}

fn judged(
    row: &str,
    case: usize,
    measured: &Measured,
    told: Told<'_>,
) -> Vec<(Number, Agreement, Option<Cause>)> {
    let row: &Row = find(row).expect("a row");
    judge(row, &row.cases[case], measured, told)
        .into_iter()
        .map(|one| (one.number, one.agreement, one.cause))
        .collect()
}

fn of(judgements: &[(Number, Agreement, Option<Cause>)], number: Number) -> (Agreement, Option<Cause>) {
    judgements.iter().find(|one| one.0 == number).map(|one| (one.1, one.2)).expect("a judgement")
}

#[test]
fn the_textbook_agrees_with_itself() {
    let judgements = judged("read+write", 0, &textbook(), Told::default());
    assert_eq!(judgements.len(), 6);
    assert!(judgements.iter().all(|one| one.1 == Agreement::Agrees), "{judgements:?}");
}

#[test]
fn one_copy_more_is_a_difference_that_is_not_explained() {
    let measured = Measured { cpu_copies: Some(3.0), ..textbook() };
    let judgements = judged("read+write", 0, &measured, Told::default());
    assert_eq!(of(&judgements, Number::CpuCopies), (Agreement::Differs, None));
}

#[test]
fn what_is_not_witnessed_never_agrees() {
    let measured = Measured {
        system_calls: Some(1.0),
        mode_switches: Some(2.0),
        cpu_copies: None,
        seen: vec![seen("sendfile", 1000, 1000)],
        ..textbook()
    };
    for row in ["sendfile", "sendfile-copied"] {
        let judgements = judged(row, 0, &measured, Told::default());
        assert_eq!(
            of(&judgements, Number::CpuCopies),
            (Agreement::Unknown, Some(Cause::NotWitnessed)),
            "{row}"
        );
        assert_eq!(of(&judgements, Number::Path), (Agreement::Agrees, None));
    }
}

#[test]
fn a_path_that_is_not_followed_or_has_another_name_is_told_apart() {
    let nothing = Measured { seen: Vec::new(), cpu_copies: None, ..textbook() };
    let judgements = judged("read+write", 0, &nothing, Told::default());
    assert_eq!(of(&judgements, Number::Path), (Agreement::Unknown, Some(Cause::NoRow)));
    assert_eq!(of(&judgements, Number::CpuCopies), (Agreement::Unknown, Some(Cause::NoRow)));
    let legs = Measured { seen: vec![seen("read", 1000, 0), seen("write", 1000, 0)], ..textbook() };
    let judgements = judged("read+write", 0, &legs, Told::default());
    assert_eq!(of(&judgements, Number::Path), (Agreement::Differs, Some(Cause::OtherPath)));
}

#[test]
fn faults_in_calls_and_fault_around_are_known() {
    let measured = Measured {
        cpu_copies: Some(1.0),
        minor_faults: Some(1.02),
        seen: vec![seen("mmap+write", 1000, 0)],
        ..textbook()
    };
    let judgements = judged("mmap+write", 0, &measured, Told::default());
    assert_eq!(of(&judgements, Number::Faults), (Agreement::Differs, Some(Cause::FaultAround)));
    assert_eq!(of(&judgements, Number::ModeSwitches), (Agreement::Differs, Some(Cause::FaultsInKernel)));
    let in_user_mode =
        Measured { mode_switches: Some(36.0), minor_faults: Some(16.0), user_faults: Some(16.0), ..measured };
    let judgements = judged("mmap+write", 0, &in_user_mode, Told::default());
    assert_eq!(of(&judgements, Number::Faults), (Agreement::Agrees, None));
    assert_eq!(of(&judgements, Number::ModeSwitches), (Agreement::Agrees, None), "4 + 2 per fault");
}

#[test]
fn devices_that_are_not_there_are_named() {
    let measured = Measured { device_reads: None, device_sends: None, ..textbook() };
    let judgements = judged("read+write", 0, &measured, Told::default());
    assert_eq!(of(&judgements, Number::DeviceSends), (Agreement::Unknown, Some(Cause::Loopback)));
    assert_eq!(of(&judgements, Number::DeviceReads), (Agreement::Unknown, Some(Cause::StorageNotCounted)));
    let judgements = judged("sendfile-copied", 0, &measured, Told::default());
    assert_eq!(of(&judgements, Number::DeviceSends), (Agreement::Unknown, Some(Cause::Veth)));
}

#[test]
fn a_cache_that_was_not_cold_explains_what_storage_did_not_read() {
    let measured = Measured { device_reads: Some(0.4), ..textbook() };
    let told = Told { resident: Some((3, 4)), facts: None };
    let judgements = judged("read+write", 0, &measured, told);
    assert_eq!(of(&judgements, Number::DeviceReads), (Agreement::Differs, Some(Cause::CacheNotEmptied)));
    let cold = Told { resident: Some((0, 4)), facts: None };
    let judgements = judged("read+write", 0, &measured, cold);
    assert_eq!(of(&judgements, Number::DeviceReads), (Agreement::Differs, None));
}

#[test]
fn a_late_copy_is_explained_by_the_kernels_own_report() {
    let measured =
        Measured { cpu_copies: Some(1.0), seen: vec![seen("send-zerocopy", 1000, 0)], ..textbook() };
    let mut facts = no_facts();
    facts.insert(REPORTED_COPIED.into(), 256);
    let judgements = judged("send-zerocopy", 0, &measured, Told { resident: None, facts: Some(&facts) });
    assert_eq!(of(&judgements, Number::CpuCopies), (Agreement::Differs, Some(Cause::CopiedLate)));
    let judgements = judged("send-zerocopy", 0, &measured, Told::default());
    assert_eq!(of(&judgements, Number::CpuCopies), (Agreement::Differs, None));
}

#[test]
fn a_second_read_hits_what_the_first_brought_in() {
    let page = Measured {
        system_calls: Some(1.0),
        mode_switches: Some(2.0),
        cpu_copies: Some(1.0),
        seen: vec![seen("read", 1000, 0)],
        ..textbook()
    };
    let reads = |case, device_reads| {
        let measured = Measured { device_reads: Some(device_reads), ..page.clone() };
        of(&judged("read-ahead", case, &measured, Told::default()), Number::DeviceReads)
    };
    assert_eq!((reads(0, 4.0), reads(1, 0.0)), ((Agreement::Agrees, None), (Agreement::Agrees, None)));
    assert_eq!(reads(0, 1.0).0, Agreement::Differs);
    assert_eq!(reads(1, 1.0).0, Agreement::Differs);
}

#[test]
fn reflinks_and_copies_are_both_what_copy_file_range_promises() {
    let copies = |copies| {
        let measured = Measured { cpu_copies: Some(copies), ..textbook() };
        of(&judged("copy_file_range", 0, &measured, Told::default()), Number::CpuCopies).0
    };
    assert_eq!(
        [copies(0.0), copies(1.0), copies(2.0)],
        [Agreement::Agrees, Agreement::Agrees, Agreement::Differs]
    );
}

#[test]
fn every_cause_is_documented_word_for_word() {
    let document = include_str!("../../../docs/lab.md");
    for cause in Cause::ALL {
        assert!(document.contains(&format!("`{}`", cause.text())), "{}", cause.text());
    }
}
