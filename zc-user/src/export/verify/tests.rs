//! JSON and `JUnit` XML of one answer.

use quick_xml::{Reader, events::Event};

use super::*;
use crate::model::{
    account,
    fixture::samples,
    verify::{Selection, verify},
};

struct Given {
    report: Report,
    selection: Selection,
    answer: Answer,
    command: Vec<String>,
}

const EXPECTATION: Expectation = Expectation::ZeroCopy(Bound::Share(500));

fn given() -> Given {
    let mut report = account(&samples(), Tool { version: "1.0.0".to_owned(), commit: None });
    report.lost.insert("rows_full".to_owned(), 3);
    let selection = Selection { files: vec!["/a <&\"'>\u{1}\u{ffff}".to_owned()], ..Selection::default() };
    let answer = verify(&report, &selection, EXPECTATION);
    Given { report, selection, answer, command: vec!["a<b".to_owned(), "\u{1b}".to_owned()] }
}

impl Given {
    fn verified(&self) -> Verified<'_> {
        let Self { report, selection, answer, command } = self;
        let subject = Subject::Command { command, exit_code: 1 };
        Verified { report, selection, expectation: EXPECTATION, answer, subject }
    }
}

#[test]
fn json_has_the_fields_of_the_contract() {
    let json: serde_json::Value = serde_json::from_slice(&given().verified().to_json().unwrap()).unwrap();
    let keys: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected = [
        "schema",
        "tool",
        "host",
        "window",
        "command",
        "pids",
        "expect",
        "max_copied",
        "selection",
        "answer",
        "summary",
        "undecided",
        "selected",
        "rows",
        "flows",
        "lost",
    ];
    expected.sort_unstable();
    assert_eq!(keys, expected);
    assert_eq!((&json["schema"], &json["answer"]), (&"zc.verify/1".into(), &"cannot-be-decided".into()));
    assert_eq!((&json["expect"], &json["max_copied"]["percent"]), (&"zero-copy".into(), &0.5.into()));
    assert_eq!(json["undecided"][0]["what"], "nothing_selected");
    assert_eq!(json["undecided"][1]["counters"]["rows_full"], 3);
    assert_eq!((&json["command"]["exit_code"], &json["selected"]["bytes"]), (&1.into(), &0.into()));
}

#[test]
fn processes_have_ids_and_no_command() {
    let given = given();
    let verified = Verified { subject: Subject::Processes { pids: &[812, 813] }, ..given.verified() };
    let json: serde_json::Value = serde_json::from_slice(&verified.to_json().unwrap()).unwrap();
    assert_eq!((&json["command"], &json["pids"]), (&serde_json::Value::Null, &vec![812, 813].into()));
    let xml = String::from_utf8(verified.to_junit().unwrap()).unwrap();
    assert!(xml.contains(r#"<property name="pids" value="812 813"/>"#) && !xml.contains("command"), "{xml}");
}

#[test]
fn junit_is_well_formed_whatever_names_hold() {
    let xml = String::from_utf8(given().verified().to_junit().unwrap()).unwrap();
    let mut reader = Reader::from_str(&xml);
    let mut names = Vec::new();
    loop {
        match reader.read_event().unwrap() {
            Event::Eof => break,
            Event::Start(start) | Event::Empty(start) => {
                for attribute in start.attributes() {
                    attribute.unwrap();
                }
                names.push(start.name().as_ref().to_owned());
            }
            _ => {}
        }
    }
    assert_eq!(&names[..3], ["testsuites", "testsuite", "properties"]);
    assert_eq!(&names[names.len() - 2..], ["testcase", "error"]);
    assert!(xml.contains(r#"tests="1" failures="0" errors="1""#), "{xml}");
    assert!(xml.contains("cannot be decided: nothing was selected; data was lost (rows_full 3)"), "{xml}");
    assert!(xml.contains("lost: rows_full 3 (raise --rows-max)"), "{xml}");
    let bad = |character: char| character.is_control() && character != '\n' || character == '\u{ffff}';
    assert!(!xml.contains(bad), "{xml:?}");
}
