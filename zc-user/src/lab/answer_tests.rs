//! Answers from made-up processes and what their workers would have told.

use zc_common::path::{Kind, Path};

use super::{
    super::{
        fixture::{empty, flow, names, process, step},
        rows::find,
    },
    *,
};

const SIZE: u64 = 4 * CHUNK_BYTES;

fn done(tale: &mut Tale, tag: &str, bytes: u64, nanoseconds: u64) {
    let (step, facts) = (tag.to_owned(), BTreeMap::new());
    tale.add(Told::Done { step, bytes, nanoseconds, facts });
}

/// Four warm transfers by read + write, two calls each; the cold ones could not be made.
fn answer() -> Answer {
    let busy = step("read+write/warm/4");
    let mut report = empty();
    report.processes.push(process(1, &Step { idle: true, ..busy }, 100, 50, (50, 0)));
    report.processes.push(process(2, &busy, 108, 50, (50, 0)));
    let (source, socket) = ((Kind::File, "/lab/source.bin (deleted)"), (Kind::Tcp, "127.0.0.1:1"));
    report.flows.push(flow(2, Path::ReadWrite, source, socket, SIZE, Some(2 * SIZE)));
    let (mut traced, mut timed) = (Tale::default(), Tale::default());
    let cold = "read+write/cold/4".to_owned();
    traced.add(Told::Skipped { step: cold.clone(), why: "no disk".to_owned() });
    traced.add(Told::Skipped { step: cold, why: "its process ended with exit status: 1".to_owned() });
    traced.add(Told::Begins { step: busy.tag(), resident: 64, pages: 64 });
    done(&mut traced, &busy.tag(), SIZE, 8000);
    done(&mut timed, &busy.tag(), SIZE, 4000);
    let rows = [find("read+write").expect("a row")];
    let findings = Findings {
        rows: &rows,
        size: SIZE,
        names: &names(),
        report: &report,
        traced: &traced,
        timed: &timed,
    };
    findings.answer(Workload::new(SIZE, "/lab".to_owned(), "ext4".to_owned()))
}

#[test]
fn a_case_has_its_numbers_its_cache_and_both_times() {
    let answer = answer();
    let warm = &answer.rows[0].cases[1];
    let measured = warm.measured.as_ref().expect("numbers");
    assert_eq!(
        (measured.system_calls, measured.cpu_copies, warm.cached_pages),
        (Some(2.0), Some(2.0), Some((64, 64)))
    );
    assert_eq!((measured.seconds, measured.seconds_traced), (Some(1e-6), Some(2e-6)));
    assert_eq!(warm.agreement, Agreement::Differs, "there is no card");
}

#[test]
fn a_case_that_could_not_be_run_keeps_the_first_reason() {
    let answer = answer();
    let cold = &answer.rows[0].cases[0];
    assert_eq!((cold.skipped.as_deref(), cold.measured.is_none()), (Some("no disk"), true));
    assert!(cold.judgements.is_empty() && cold.agreement == Agreement::Unknown);
    assert!(answer.appends.is_none(), "that row was not run");
}

#[test]
fn csv_has_a_line_for_each_case_and_nothing_for_what_is_not_known() {
    let csv = String::from_utf8(answer().to_csv().expect("text")).expect("UTF-8");
    let lines: Vec<_> = csv.lines().collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[1], "1,read+write,cold,textbook,chunk,,,,,,,,,,,,,unknown,no disk");
    let warm = "1,read+write,warm,textbook,chunk,4,262144,2,4,2,,0,0,0,0,0,0.000001,differs,";
    assert!(lines[2].starts_with(warm), "{}", lines[2]);
}

#[test]
fn json_says_null_for_what_is_not_known() {
    let json = serde_json::to_value(answer()).expect("JSON");
    let case = &json["rows"][0]["cases"][1];
    assert_eq!(case["measured"]["device_reads"], serde_json::Value::Null);
    assert_eq!(case["expected"]["system_calls"]["exactly"], 2.0);
    assert_eq!(case["expected"]["faults"], serde_json::Value::Null);
    assert_eq!(json["schema"], SCHEMA);
}
