//! A frame for programs: a line of JSON, or lines of CSV.

use std::io;

use csv::{Terminator, WriterBuilder};
use jiff::Timestamp;
use serde::Serialize;

use super::{
    frame::{Frame, Moved, ProcessFrame, RowFrame},
    numbers::{Changes, Number, Rates},
};
use crate::model::report::Verdict;

/// The form of a line. It changes when a field changes its meaning or goes away, not when one is added.
pub const SCHEMA: &str = "zc.top/1";

#[derive(Serialize)]
struct Interval<'a> {
    schema: &'static str,
    source: &'a str,
    start: Timestamp,
    end: Timestamp,
    seconds: f64,
    lost: &'a std::collections::BTreeMap<String, u64>,
    notes: &'a [String],
    processes: Vec<Process<'a>>,
    omitted_processes: u64,
    total: Figures<'a>,
}

#[derive(Serialize)]
struct Process<'a> {
    pid: u32,
    ppid: Option<u32>,
    start_ns: u64,
    comm: Option<&'a str>,
    exe: Option<&'a str>,
    cmdline: &'a [String],
    cgroup: Option<&'a str>,
    container: Option<&'a str>,
    ended: bool,
    exit_code: Option<i32>,
    #[serde(flatten)]
    figures: Figures<'a>,
    paths: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct Row<'a> {
    path: &'static str,
    via: &'static str,
    source: &'static str,
    destination: &'static str,
    #[serde(flatten)]
    figures: Figures<'a>,
    evidence: &'static str,
    reason: Option<String>,
}

#[derive(Serialize)]
struct Figures<'a> {
    rates: Rates<'a>,
    changes: &'a Changes,
    verdict: Option<&'static str>,
}

impl<'a> Figures<'a> {
    fn of(moved: &'a Moved, seconds: f64) -> Self {
        Self {
            rates: Rates { shown: &moved.shown, seconds },
            changes: &moved.changes,
            verdict: moved.verdict().map(Verdict::name),
        }
    }
}

impl<'a> Row<'a> {
    fn of(row: &'a RowFrame, seconds: f64) -> Self {
        Self {
            path: row.name.path.name(),
            via: row.name.via.name(),
            source: row.name.source.name(),
            destination: row.name.destination.name(),
            figures: Figures::of(&row.moved, seconds),
            evidence: row.evidence.name(),
            reason: row.reason.map(|reason| reason.to_string()),
        }
    }
}

/// A frame, which has been sorted, as one line of JSON. `source` is who traces: `daemon` or `own`.
pub fn json_line(frame: &Frame, source: &str, limit: Option<usize>) -> io::Result<Vec<u8>> {
    let shown = limit.unwrap_or(usize::MAX).min(frame.processes.len());
    let mut processes = Vec::with_capacity(shown);
    for ProcessFrame { who, exit_code, moved, rows } in &frame.processes[..shown] {
        processes.push(Process {
            pid: who.pid,
            ppid: who.ppid,
            start_ns: who.start_ns,
            comm: who.comm.as_deref(),
            exe: who.exe.as_deref(),
            cmdline: &who.cmdline,
            cgroup: who.cgroup.as_deref(),
            container: who.container.as_deref(),
            ended: exit_code.is_some(),
            exit_code: *exit_code,
            figures: Figures::of(moved, frame.seconds),
            paths: rows.iter().map(|row| Row::of(row, frame.seconds)).collect(),
        });
    }
    let mut line = serde_json::to_vec(&Interval {
        schema: SCHEMA,
        source,
        start: frame.start,
        end: frame.end,
        seconds: frame.seconds,
        lost: &frame.lost,
        notes: &frame.notes,
        processes,
        omitted_processes: (frame.processes.len() - shown) as u64,
        total: Figures::of(&frame.total, frame.seconds),
    })?;
    line.push(b'\n');
    Ok(line)
}

/// Columns of CSV before the numbers.
const NAMES: [&str; 11] = [
    "end",
    "seconds",
    "pid",
    "start_ns",
    "comm",
    "cgroup",
    "container",
    "path",
    "via",
    "source",
    "destination",
];

/// The header of CSV.
pub fn csv_header() -> io::Result<Vec<u8>> {
    let names = NAMES.iter().map(|&name| name.to_owned());
    let changes = Number::ALL.iter().map(|number| number.name().to_owned());
    let rates = Number::ALL.iter().map(|number| format!("{}_per_second", number.name()));
    let last = ["copies_per_byte", "verdict", "evidence", "reason"].map(str::to_owned);
    lines([names.chain(changes).chain(rates).chain(last).collect()])
}

/// A line for each path row of each process; never cut, as it is for programs.
pub fn csv_lines(frame: &Frame) -> io::Result<Vec<u8>> {
    fn text(value: Option<impl ToString>) -> String {
        value.map_or_else(String::new, |value| value.to_string())
    }
    let rows = frame.processes.iter().flat_map(|process| process.rows.iter().map(move |row| (process, row)));
    lines(rows.map(|(ProcessFrame { who, .. }, RowFrame { name, moved, evidence, reason })| {
        let mut fields = vec![
            frame.end.to_string(),
            frame.seconds.to_string(),
            who.pid.to_string(),
            who.start_ns.to_string(),
            text(who.comm.as_deref()),
            text(who.cgroup.as_deref()),
            text(who.container.as_deref()),
            name.path.name().to_owned(),
            name.via.name().to_owned(),
            name.source.name().to_owned(),
            name.destination.name().to_owned(),
        ];
        fields.extend(Number::ALL.map(|number| text(moved.changes.get(number))));
        fields.extend(Number::ALL.map(|number| text(moved.shown.per_second(number, frame.seconds))));
        fields.push(text(moved.shown.copies_per_byte()));
        fields.push(text(moved.verdict().map(Verdict::name)));
        fields.push(evidence.name().to_owned());
        fields.push(text(*reason));
        fields
    }))
}

fn lines(records: impl IntoIterator<Item = Vec<String>>) -> io::Result<Vec<u8>> {
    let mut writer = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(Vec::new());
    for record in records {
        writer.write_record(record)?;
    }
    writer.into_inner().map_err(csv::IntoInnerError::into_error)
}

#[cfg(test)]
#[path = "export_tests.rs"]
mod tests;
