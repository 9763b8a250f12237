use serde_json::{Value, json};

use super::*;
use crate::{expect::Ledger, report::LOST};

fn truth() -> Expectation {
    let mut plan = Ledger::new();
    plan.relayed((Kind::File, Kind::Tcp), 100, 3, 2).reads(Kind::File, 50, 1);
    plan.flow("read", Some("/in"), None, 50);
    plan.mapped(Mapped {
        file: "/mapped".into(),
        bytes: 28_672,
        copied_pages: 1,
        calls: 1,
        faults: Some(4),
        major: Some(1),
        ..Mapped::default()
    });
    Expectation {
        pid: 7,
        rchar: 150,
        read_bytes: Some(512),
        wchar: 100,
        minor: 20,
        voluntary: 3,
        other_calls: 20,
        ..plan.into_expectation()
    }
}

fn row(path: &str, destination: &str, bytes: u64, syscalls: u64, transfers: u64, copied: u64) -> Value {
    json!({
        "path": path, "via": "syscall", "source": "file", "destination": destination, "bytes": bytes,
        "transfers": transfers, "syscalls": syscalls, "mode_switches": 2 * syscalls,
        "cpu_copied_bytes": copied, "by_reference_bytes": 0, "unknown_bytes": 0,
        "device_read_bytes": 0, "device_sent_bytes": null,
        "context_switches": {"voluntary": 0, "involuntary": 0}, "page_faults": {"minor": 0, "major": 0, "copy_on_write": null},
        "seconds": 0.1, "verdict": "copied", "evidence": "inferred", "reason": null,
        "rchar_bytes": bytes, "wchar_bytes": if path == "read" { 0 } else { bytes }
    })
}

fn report() -> Value {
    json!({
        "schema": "zc.report/1",
        "tool": {"version": "0", "commit": null},
        "host": {"kernel": "6", "arch": "x86_64", "hostname": "h", "cpus": 2},
        "window": {"start": "2026-01-01T00:00:00Z", "seconds": 1.0},
        "hooks": [], "sampling": null,
        "lost": LOST.iter().map(|name| ((*name).to_owned(), json!(0))).collect::<serde_json::Map<_, _>>(),
        "self": {"bpf_runs": null, "bpf_ns": null, "cpu_seconds": null, "rss_bytes": null},
        "processes": [{
            "pid": 7, "ppid": 1, "start_ns": 1, "comm": "x", "exe": null, "cmdline": null, "cgroup": null,
            "container": null, "exit_code": 0, "syscalls": 30,
            "mode_switches": {"syscall": 60, "exception": 40, "interrupt": null},
            "context_switches": {"voluntary": 3, "involuntary": 0},
            "page_faults": {"minor": 21, "major": 0, "copy_on_write": null}, "device_read_bytes": 512,
            "paths": [row("read+write", "tcp", 100, 5, 2, 200), row("read", "memory", 50, 1, 1, 50)]
        }],
        "flows": [{
            "pid": 7, "path": "read", "via": "syscall", "source": {"kind": "file", "name": "/in", "local": null},
            "destination": {"kind": "memory", "name": null, "local": null}, "bytes": 50, "transfers": 1, "syscalls": 1,
            "cpu_copied_bytes": 50, "by_reference_bytes": 0, "unknown_bytes": 0, "device_read_bytes": 0,
            "mode_switches": 2, "page_faults": {"minor": 0, "major": 0, "copy_on_write": null}, "verdict": "copied", "evidence": "inferred", "reason": null
        }, {
            "pid": 7, "path": "mmap", "via": "syscall", "source": {"kind": "file", "name": "/mapped", "local": null},
            "destination": {"kind": "memory", "name": null, "local": null}, "bytes": 28_672, "transfers": 5, "syscalls": 1,
            "cpu_copied_bytes": 4096, "by_reference_bytes": 24_576, "unknown_bytes": 0, "device_read_bytes": 4096,
            "mode_switches": 10, "page_faults": {"minor": 3, "major": 1, "copy_on_write": 1}, "verdict": "mixed", "evidence": "witnessed", "reason": null
        }]
    })
}

fn parse(report: &Value) -> Report {
    Report::parse(report.to_string().as_bytes())
}

#[test]
fn a_report_that_is_the_truth_has_no_differences() {
    assert_eq!(differences(&parse(&report()), &truth()), Vec::<String>::new());
}

#[test]
fn every_number_that_is_wrong_is_a_difference() {
    for (pointer, value) in [
        ("/processes/0/pid", json!(8)),
        ("/processes/0/syscalls", json!(25)),
        ("/processes/0/exit_code", json!(1)),
        ("/processes/0/exit_code", json!(null)),
        ("/processes/0/mode_switches/syscall", json!(59)),
        ("/processes/0/device_read_bytes", json!(513)),
        ("/processes/0/device_read_bytes", json!(null)),
        ("/processes/0/paths/0/device_read_bytes", json!(513)),
        ("/processes/0/paths/0/device_read_bytes", json!(null)),
        ("/processes/0/page_faults/minor", json!(19)),
        ("/processes/0/page_faults/minor", json!(37)),
        ("/processes/0/page_faults/minor", json!(null)),
        ("/processes/0/context_switches/voluntary", json!(2)),
        ("/processes/0/paths/0/bytes", json!(101)),
        ("/processes/0/paths/0/syscalls", json!(4)),
        ("/processes/0/paths/0/transfers", json!(3)),
        ("/processes/0/paths/0/mode_switches", json!(4)),
        ("/processes/0/paths/0/cpu_copied_bytes", json!(100)),
        ("/processes/0/paths/0/destination", json!("udp")),
        ("/processes/0/paths/0/verdict", json!("zero-copy")),
        ("/processes/0/paths/1/evidence", json!("witnessed")),
        ("/processes/0/paths/1/via", json!("io_uring")),
        ("/processes/0/paths/1/rchar_bytes", json!(49)),
        ("/processes/0/paths/1/context_switches/voluntary", json!(4)),
        ("/flows/0/bytes", json!(49)),
        ("/flows/0/source/name", json!("/other")),
        ("/flows/1/bytes", json!(28_671)),
        ("/flows/1/cpu_copied_bytes", json!(8192)),
        ("/flows/1/unknown_bytes", json!(1)),
        ("/flows/1/syscalls", json!(2)),
        ("/flows/1/mode_switches", json!(8)),
        ("/flows/1/page_faults/minor", json!(4)),
        ("/flows/1/page_faults/major", json!(0)),
        ("/flows/1/page_faults/copy_on_write", json!(0)),
        ("/flows/1/verdict", json!("zero-copy")),
        ("/flows/1/source/name", json!("/other")),
    ] {
        let mut wrong = report();
        *wrong.pointer_mut(pointer).expect("a field of the report") = value;
        assert!(!differences(&parse(&wrong), &truth()).is_empty(), "{pointer} may be anything");
    }
}

#[test]
fn what_is_not_known_is_no_false_claim_and_what_is_not_so_is() {
    let mut truth = truth();
    let path = truth.rows.iter_mut().find(|row| row.path == "read+write").expect("a row");
    path.said =
        Said { copied: Some(200), by_reference: Some(0), verdict: Some("copied".into()), ..Said::default() };
    for (field, value, is_false) in [
        ("verdict", json!("unknown"), false),
        ("verdict", json!("zero-copy"), true),
        ("verdict", json!("mixed"), true),
        ("cpu_copied_bytes", json!(null), false),
        ("cpu_copied_bytes", json!(100), false),
        ("cpu_copied_bytes", json!(201), true),
    ] {
        let mut report = report();
        *report.pointer_mut(&format!("/processes/0/paths/0/{field}")).expect("a field") = value.clone();
        let wrong = differences_of(&parse(&report), &truth, Claims::True);
        assert_eq!(!wrong.is_empty(), is_false, "{field} {value}: {wrong:?}");
    }
}

#[test]
fn a_row_that_never_happened_is_a_difference() {
    let mut wrong = report();
    let rows = wrong.pointer_mut("/processes/0/paths").and_then(Value::as_array_mut).expect("rows");
    rows.push(row("read", "pipe", 0, 1, 0, 0));
    assert_eq!(differences(&parse(&wrong), &truth()).len(), 1);
}

#[test]
#[should_panic(expected = "not a report")]
fn a_key_that_is_missing_is_not_the_same_as_null() {
    let mut wrong = report();
    wrong.pointer_mut("/processes/0").and_then(Value::as_object_mut).expect("a process").remove("exe");
    parse(&wrong);
}

#[test]
#[should_panic(expected = "loss counter")]
fn a_loss_counter_that_is_missing_is_an_error() {
    let mut wrong = report();
    wrong.pointer_mut("/lost").and_then(Value::as_object_mut).expect("losses").remove("ring_full");
    parse(&wrong);
}
