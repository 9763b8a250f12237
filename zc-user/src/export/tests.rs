//! JSON and CSV of one small report, and what a limit leaves out.

use zc_common::{
    path::{Kind, Path},
    row::{Costs, RowKey, RowValue},
};

use super::*;
use crate::model::{
    account,
    fixture::samples,
    report::{Omitted, Tool},
    samples::{ObjectSample, ProcessSample, Row},
    seen::Seen,
};

fn report() -> Report {
    let row = |pid, source: u32, bytes| Row {
        key: RowKey {
            path: Path::Sendfile as u8,
            source_kind: Kind::File as u8,
            source,
            destination_kind: Kind::Tcp as u8,
            tid: pid,
            ..RowKey::default()
        },
        value: RowValue {
            tgid: pid,
            process_start_ns: 5,
            bytes,
            transfers: 1,
            own: Costs { calls: 2, voluntary: 3, involuntary: 4, minor: 5, major: 6, device_read_bytes: 512 },
            ..RowValue::default()
        },
        seen: Seen::default(),
    };
    let object = |name: &str, inode| ObjectSample {
        kind: Kind::File,
        device: 1,
        inode,
        generation: 0,
        deleted: false,
        name: Some(name.to_owned()),
        local: None,
    };
    let mut samples = samples();
    samples.rows = vec![row(7, 1, 4099), row(7, 2, 10), row(8, 1, 1)];
    samples.objects = [(1, object("/a \"b\", c", 1)), (2, object("/d", 2))].into();
    samples.processes = vec![ProcessSample {
        pid: 7,
        ppid: Some(1),
        start_ns: 5,
        comm: "a,b".to_owned(),
        ..ProcessSample::default()
    }];
    account(&samples, Tool { version: "1.0.0".to_owned(), commit: None })
}

fn json(limit: Option<usize>) -> String {
    let options = Options { limit, ..Options::default() };
    String::from_utf8(json::to_vec(&report(), &options).unwrap()).unwrap()
}

/// The keys in the order of the text; of lists, those of the first element.
fn keys(text: &str) -> Vec<&str> {
    text.lines()
        .filter_map(|line| line.trim().strip_prefix('"')?.split_once("\": ").map(|(key, _)| key))
        .collect()
}

#[test]
fn json_has_the_fields_of_the_contract_in_its_order() {
    let text = json(None);
    let keys = keys(&text);
    let figures = "transfers syscalls bytes cpu_copied_bytes by_reference_bytes unknown_bytes \
                   device_read_bytes device_sent_bytes mode_switches context_switches voluntary involuntary \
                   page_faults minor major copy_on_write seconds verdict evidence reason rchar_bytes wchar_bytes";
    let expected = format!(
        "schema tool version commit host kernel arch hostname cpus window start seconds hooks sampling lost \
         ring_full rows_unknown unpaired self bpf_runs bpf_ns cpu_seconds rss_bytes processes pid ppid \
         start_ns comm exe cmdline cgroup container exit_code syscalls mode_switches syscall exception \
         interrupt context_switches voluntary involuntary page_faults minor major copy_on_write device_read_bytes paths path via source destination {figures}"
    );
    let expected: Vec<_> = expected.split_whitespace().collect();
    assert_eq!(keys[..expected.len()], expected);
    let flow = format!("pid start_ns path via source kind name local destination kind name local {figures}");
    let flow: Vec<_> = flow.split_whitespace().collect();
    assert_eq!(keys[keys.len() - flow.len()..], flow);
    assert!(text.contains("\"start\": \"2026-03-01T12:00:00Z\""), "{text}");
    assert!(
        text.contains("\"cpu_copied_bytes\": null") && text.contains("\"verdict\": \"unknown\""),
        "{text}"
    );
    assert!(text.ends_with("}\n"));
}

#[test]
fn json_comes_back_as_the_same_report() {
    let again: Report = serde_json::from_str(&json(None)).unwrap();
    assert_eq!(again, report());
    let other = json(None).replace("zc.report/1", "zc.report/9");
    let error = serde_json::from_str::<Report>(&other).unwrap_err().to_string();
    assert!(error.contains("the schema is zc.report/9, not zc.report/1"), "{error}");
}

#[test]
fn json_is_cut_only_when_asked_and_says_what_it_left_out() {
    assert!(!json(None).contains("omitted"));
    let cut: Report = serde_json::from_str(&json(Some(1))).unwrap();
    assert_eq!(cut.omitted, Some(Omitted { processes: 1, paths: 1, flows: 2 }));
    assert_eq!((cut.processes.len(), cut.flows.len()), (1, 1));
    assert_eq!((cut.processes[0].pid, cut.flows[0].pid, cut.flows[0].figures.bytes), (7, 7, 4099));
    let none: Report = serde_json::from_str(&json(Some(0))).unwrap();
    assert_eq!(none.omitted, Some(Omitted { processes: 2, paths: 2, flows: 3 }));
}

#[test]
fn csv_is_a_header_and_a_line_for_each_path_row() {
    let mut out = Vec::new();
    let options = Options { limit: Some(0), ..Options::default() };
    write(&report(), Format::Csv, &options, &mut out).unwrap();
    let reason = "not witnessed: sendfile hands on pages or copies them";
    let expected = format!(
        "{}\r\n\
         7,1,5,\"a,b\",,,,,sendfile,syscall,file,tcp,2,4,4109,,,4109,1024,,8,6,8,10,12,unknown,inferred,{reason},4109,4109,\r\n\
         8,,5,,,,,,sendfile,syscall,file,tcp,1,2,1,,,1,512,,4,3,4,5,6,unknown,inferred,{reason},1,1,\r\n",
        csv::HEADER.join(",")
    );
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}
