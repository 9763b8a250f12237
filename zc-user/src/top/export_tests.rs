use serde_json::Value;
use zc_common::path::Path;

use super::*;
use crate::{
    render::view::Sort,
    top::tally::{
        Tally,
        tests::{interval, process, row},
    },
};

fn frame() -> Frame {
    let mut tally = Tally::default();
    let mut ended = process(8, 1, vec![row(Path::Read, -10, Some(-10), None)]);
    ended.exit_code = Some(3);
    ended.who.comm = Some("a,\"b\"\n".to_owned());
    let mut change =
        interval(vec![process(7, 1, vec![row(Path::Sendfile, 1000, Some(0), Some(1000))]), ended]);
    change.lost.insert("rows_full".to_owned(), 1);
    tally.add(&change, 2.0);
    let mut frame = tally.close();
    frame.sort(Sort::Bytes);
    frame
}

#[test]
fn a_line_of_json_has_rates_and_what_changed() {
    let line = json_line(&frame(), "own", None).expect("a line");
    let line = String::from_utf8(line).expect("UTF-8");
    assert!(line.ends_with("}\n") && line.lines().count() == 1, "{line}");
    let all: Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(
        (&all["schema"], &all["source"], &all["seconds"]),
        (&SCHEMA.into(), &"own".into(), &2.0.into())
    );
    assert_eq!(all["lost"]["rows_full"], 1);
    let first = &all["processes"][0];
    assert_eq!(
        (&first["pid"], &first["ended"], &first["verdict"]),
        (&7.into(), &false.into(), &"zero-copy".into())
    );
    assert_eq!(first["rates"]["bytes_per_second"], 500.0);
    assert_eq!(first["rates"]["all_calls_per_second"], Value::Null);
    assert_eq!(first["paths"][0]["changes"]["bytes"], 1000);
    assert_eq!(first["paths"][0]["source"], "file");
    let second = &all["processes"][1];
    assert_eq!(
        (&second["ended"], &second["exit_code"], &second["verdict"]),
        (&true.into(), &3.into(), &Value::Null)
    );
    assert_eq!(second["changes"]["bytes"], -10, "as it is");
    assert_eq!(second["rates"]["bytes_per_second"], 0.0, "never below nothing");
    assert_eq!(all["total"]["changes"]["bytes"], 990);
    assert_eq!(all["total"]["rates"]["bytes_per_second"], 495.0);
}

#[test]
fn what_a_limit_leaves_out_is_said() {
    let all: Value =
        serde_json::from_slice(&json_line(&frame(), "own", Some(1)).expect("a line")).expect("JSON");
    assert_eq!(all["processes"].as_array().map(Vec::len), Some(1));
    assert_eq!(all["omitted_processes"], 1);
    assert_eq!(all["total"]["changes"]["bytes"], 990, "of all");
}

#[test]
fn csv_has_as_many_fields_as_names() {
    let mut bytes = csv_header().expect("a header");
    bytes.extend(csv_lines(&frame()).expect("lines"));
    let mut reader = csv::Reader::from_reader(bytes.as_slice());
    let names = reader.headers().expect("a header").clone();
    let at = |name: &str| names.iter().position(|known| known == name).unwrap_or_else(|| panic!("{name}"));
    let records: Vec<_> = reader.records().map(|record| record.expect("a line")).collect();
    assert_eq!(records.len(), 2);
    assert_eq!((&records[0][at("pid")], &records[0][at("bytes")]), ("7", "1000"));
    assert_eq!(&records[0][at("bytes_per_second")], "500");
    assert_eq!((&records[1][at("comm")], &records[1][at("bytes")]), ("a,\"b\"\n", "-10"));
    assert_eq!((&records[1][at("verdict")], &records[1][at("by_reference_bytes")]), ("", ""));
}
