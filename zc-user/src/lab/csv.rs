//! A line for each case.

use std::io;

use csv::{Terminator, WriterBuilder};

use super::answer::{Answer, CaseAnswer, RowAnswer};

const HEADER: [&str; 19] = [
    "number",
    "row",
    "case",
    "origin",
    "transfer",
    "transfers",
    "bytes",
    "system_calls",
    "mode_switches",
    "cpu_copies",
    "device_reads",
    "device_sends",
    "minor_faults",
    "major_faults",
    "voluntary_switches",
    "involuntary_switches",
    "seconds",
    "agreement",
    "remark",
];

impl Answer {
    /// As CSV (RFC 4180).
    pub fn to_csv(&self) -> io::Result<Vec<u8>> {
        let mut writer = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(Vec::new());
        writer.write_record(HEADER)?;
        for row in &self.rows {
            for case in &row.cases {
                writer.write_record(record(row, case)?)?;
            }
        }
        writer.into_inner().map_err(csv::IntoInnerError::into_error)
    }
}

fn record(row: &RowAnswer, case: &CaseAnswer) -> io::Result<[String; 19]> {
    let measured = case.measured.as_ref();
    let number = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
    let of = |field: fn(&super::measure::Measured) -> Option<f64>| number(measured.and_then(field));
    let word = |value: serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let mut remarks: Vec<_> = case.skipped.iter().cloned().collect();
    for cause in case.judgements.iter().filter_map(|judgement| judgement.cause) {
        if !remarks.iter().any(|known| known == cause.text()) {
            remarks.push(cause.text().to_owned());
        }
    }
    Ok([
        row.number.to_string(),
        row.name.to_owned(),
        case.name.to_owned(),
        word(serde_json::to_value(row.origin)?),
        word(serde_json::to_value(row.transfer)?),
        measured.map_or_else(String::new, |measured| measured.transfers.to_string()),
        measured.map_or_else(String::new, |measured| measured.bytes.to_string()),
        of(|measured| measured.system_calls),
        of(|measured| measured.mode_switches),
        of(|measured| measured.cpu_copies),
        of(|measured| measured.device_reads),
        of(|measured| measured.device_sends),
        of(|measured| measured.minor_faults),
        of(|measured| measured.major_faults),
        of(|measured| measured.voluntary_switches),
        of(|measured| measured.involuntary_switches),
        of(|measured| measured.seconds),
        word(serde_json::to_value(case.agreement)?),
        remarks.join("; "),
    ])
}
