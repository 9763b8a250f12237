//! The lab's table on a made-up answer.

use std::collections::BTreeMap;

use super::*;
use crate::{
    lab::{
        answer::{SCHEMA, Workload},
        appends::Point,
        rows::{ROWS, Row},
    },
    model::{fixture::samples, report::Tool},
};

fn case(row: &Row, index: usize, agreement: Agreement, causes: &[Option<Cause>]) -> CaseAnswer {
    let number = Number::CpuCopies;
    CaseAnswer {
        name: row.cases[index].name,
        cache: row.cases[index].cache,
        cached_pages: None,
        expected: row.cases[index].expected(row),
        skipped: None,
        measured: Some(Measured {
            transfers: 256,
            system_calls: Some(2.0),
            mode_switches: Some(4.008),
            minor_faults: Some(1.024),
            major_faults: Some(0.0156),
            voluntary_switches: Some(0.004),
            involuntary_switches: Some(0.52),
            seconds: Some(43.3e-6),
            ..Measured::default()
        }),
        facts: BTreeMap::new(),
        agreement,
        judgements: causes.iter().map(|&cause| Judgement { number, agreement, cause }).collect(),
    }
}

fn answer() -> Answer {
    let row = &ROWS[1];
    let mut skipped = case(row, 1, Agreement::Unknown, &[]);
    skipped.measured = None;
    skipped.skipped = Some("cannot make a network namespace: Operation not permitted (os error 1)".into());
    let cases = vec![
        case(row, 0, Agreement::Differs, &[Some(Cause::Loopback), None, Some(Cause::FaultAround)]),
        skipped,
    ];
    let way = |seconds| Way {
        seconds: Some(seconds),
        system_calls: Some(10),
        mode_switches: Some(20),
        faults: Some(0),
    };
    let point = |records, write, mapping| Point { records, write: way(write), mapping: way(mapping) };
    let sample = samples();
    Answer {
        schema: SCHEMA,
        tool: Tool { version: "1.0.0".into(), commit: None },
        host: sample.host,
        window: sample.window,
        hooks: Vec::new(),
        lost: sample.lost,
        workload: Workload::new(16 << 20, "/var/tmp".into(), "ext4".into()),
        rows: vec![RowAnswer {
            number: row.number,
            name: row.name,
            about: row.about,
            origin: row.origin,
            transfer: row.unit,
            path: row.path,
            cases,
        }],
        appends: Some(Appends::of(vec![point(50, 1e-5, 2e-5), point(1_000_000, 1.0, 44.4e-3)])),
    }
}

#[test]
fn an_answer_reads_like_this() {
    let expected = "\
zc 1.0.0  host  Linux 6.12.0 x86_64  2026-03-01T12:00:00Z  2.5 s
A file of 16MiB in /var/tmp (ext4), moved in transfers of 64KiB. Numbers are those of one transfer;
COPIES, DISK and CARD are copies of each byte by the processor, from storage and to a network card;
TIME is untraced.

TEXTBOOK         CALLS MODESW COPIES  DISK CARD     FAULTS        CSW    TIME
 2 mmap+write: mmap(2) a file, write(2) the mapping to a TCP socket
   textbook          2   4+2f      1     1    1         16          -       -
   cold              2   4.01      -     -    - 1.02/0.016 0.004/0.52  43.3us  ≠[1,2,copies]
   warm         not run: cannot make a network namespace: Operation not permitted (os error 1)

Appends of 60-byte records: write(2) against a shared mapping
   RECORDS    write(2)       MODESW    FAULTS       mapping       MODESW    FAULTS
        50      10.0us           20         0        20.0us           20         0
   1000000        1.0s           20         0        44.4ms           20         0  mapping wins
The mapping begins to win at 1000000 records on this machine (times are untraced).

2 cases: 0 agree, 1 differ in some number, 0 not known in some; 1 without a reason, 1 not run
lost: nothing
[1] loopback has no network card: no device copies what is sent
[2] a fault maps more than its page: cached pages around it (fault-around, 16) or a huge page
[name] this number differs, and zc cannot say why
≠ not the textbook's, ? and - not known; FAULTS minor/major, CSW voluntary/involuntary, f = faults
";
    assert_eq!(render(&answer(), false, false), expected);
}

#[test]
fn lines_fit_a_hundred_columns_however_many_remarks_there_are() {
    let mut answer = answer();
    let all: Vec<_> = Cause::ALL.into_iter().map(Some).collect();
    answer.rows[0].cases.push(case(&ROWS[1], 0, Agreement::Unknown, &all));
    answer.workload.directory = "/a/very/long/name/".repeat(20);
    let text = render(&answer, false, true);
    assert!(text.lines().all(|line| human::width(line) <= WIDTH), "{text}");
    assert!(text.is_ascii(), "{text}");
}

#[test]
fn colours_are_only_around_text() {
    let plain = render(&answer(), false, false);
    let mut coloured = render(&answer(), true, false);
    assert_ne!(plain, coloured);
    while let Some(start) = coloured.find('\u{1b}') {
        let end = coloured[start..].find('m').expect("the end of a style") + start;
        coloured.replace_range(start..=end, "");
    }
    assert_eq!(plain, coloured);
}

#[test]
fn numbers_are_short() {
    let table = [
        (2.0, "2"),
        (4.0004, "4"),
        (4.008, "4.01"),
        (0.0146, "0.015"),
        (0.0, "0"),
        (-0.0001, "0"),
        (0.5, "0.5"),
    ];
    for (number, expected) in table {
        assert_eq!(decimal(number), expected);
    }
    assert_eq!(
        [seconds(4.4e-8), seconds(43.3e-6), seconds(0.3), seconds(2.25)],
        ["44ns", "43.3us", "300ms", "2.2s"]
    );
}
