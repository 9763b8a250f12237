//! `zc lab` in a virtual machine: each row comes true there, but for differences that are known.
//!
//! On the machine itself `lab.rs` does more. Under emulation times say nothing, so that the row about them is left out.

use std::{collections::BTreeSet, sync::OnceLock};

use serde_json::Value;
use zc_tests::{
    lab::{ALWAYS, SOMETIMES, assert_sendfile_differs_by_device, cases, disagreements, is_known_as, lab},
    machine,
    zc::Zc,
};

/// Runs all rows once, for all tests.
fn answer() -> Option<&'static Value> {
    static ANSWER: OnceLock<Value> = OnceLock::new();
    if !machine::require_guest() {
        return None;
    }
    let zc = Zc::with(&[])?;
    Some(ANSWER.get_or_init(|| {
        let dir = machine::temp_dir();
        let mut words = vec!["--size", "1MiB"];
        words.extend(ROWS.iter().flat_map(|row| ["--only", *row]));
        lab(&zc, dir.path(), &words)
    }))
}

fn comes_true(name: &str) {
    let Some(answer) = answer() else { return };
    let mut found = cases(answer).filter(|(row, _)| *row == name).map(|(_, case)| case).peekable();
    assert!(found.peek().is_some(), "no case of {name}: {answer}");
    for case in found {
        assert_eq!(case["skipped"], Value::Null, "{name}");
    }
    let mut unknown = disagreements(answer);
    unknown.retain(|one| {
        one.row == name && !ALWAYS.iter().chain(SOMETIMES).any(|known| is_known_as(known, one))
    });
    assert!(unknown.is_empty(), "differences that are not in the list: {unknown:#?}");
}

macro_rules! rows {
    ($($test:ident: $row:literal;)*) => {
        $(#[test] fn $test() { comes_true($row); })*

        const ROWS: &[&str] = &[$($row),*];
    };
}

rows! {
    row_01_read_and_write: "read+write";
    row_02_mmap_and_write: "mmap+write";
    row_03_sendfile_to_a_device_without_scatter_gather: "sendfile-copied";
    row_04_sendfile: "sendfile";
    row_05_splice: "splice";
    row_06_reading_a_mapping: "mmap-read";
    row_08_demand_paging: "demand-paging";
    row_09_read_ahead: "read-ahead";
    row_10_a_shared_mapping: "shared-mapping";
    row_11_ways_into_the_kernel: "ways-in";
    row_12_tee: "tee";
    row_13_vmsplice: "vmsplice";
    row_14_copy_file_range: "copy_file_range";
    row_15_send_with_msg_zerocopy: "send-zerocopy";
    row_16_reads_by_a_ring: "io_uring-read";
    row_17_sends_by_a_ring: "io_uring-send";
    row_18_direct_reads: "direct-read";
}

#[test]
fn rows_3_and_4_differ_by_what_was_seen() {
    if let Some(answer) = answer() {
        assert_sendfile_differs_by_device(answer);
    }
}

#[test]
fn nothing_was_lost() {
    let Some(answer) = answer() else { return };
    let lost = answer["lost"].as_object().expect("counters");
    assert!(lost.values().all(|count| count == 0), "{lost:?}");
}

#[test]
fn every_row_but_that_of_times_is_run() {
    if !machine::require_guest() {
        return;
    }
    let Some(zc) = Zc::with(&[]) else { return };
    let listed = zc.job(&["lab", "--list"]).finish();
    let listed = String::from_utf8(listed.stdout).expect("text");
    let numbered = listed.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        words.next()?.parse::<u8>().ok()?;
        words.next()
    });
    let all: BTreeSet<&str> = numbered.collect();
    let ours: BTreeSet<&str> = ROWS.iter().copied().chain(["appends"]).collect();
    assert_eq!(all, ours);
}
