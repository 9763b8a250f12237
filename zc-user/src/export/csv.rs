//! CSV (RFC 4180): a header, then a line for each path of each process. Never cut: it is for programs.

use std::io;

use csv::{Terminator, WriterBuilder};

use super::Options;
use crate::{
    model::{
        Report,
        report::{PathRow, Process},
    },
    render::view,
};

/// The columns: as in JSON, with units in their names.
pub const HEADER: [&str; 31] = [
    "pid",
    "ppid",
    "start_ns",
    "comm",
    "exe",
    "cgroup",
    "container",
    "exit_code",
    "path",
    "via",
    "source",
    "destination",
    "transfers",
    "syscalls",
    "bytes",
    "cpu_copied_bytes",
    "by_reference_bytes",
    "unknown_bytes",
    "device_read_bytes",
    "device_sent_bytes",
    "mode_switches",
    "voluntary_context_switches",
    "involuntary_context_switches",
    "minor_page_faults",
    "major_page_faults",
    "verdict",
    "evidence",
    "reason",
    "rchar_bytes",
    "wchar_bytes",
    "copy_on_write_page_faults",
];

/// The report's path rows. What is absent is an empty field; a process without paths has no line.
pub fn to_vec(report: &Report, options: &Options) -> io::Result<Vec<u8>> {
    let mut processes = report.processes.clone();
    view::sort(&mut processes, options.sort);
    let mut writer = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(Vec::new());
    writer.write_record(HEADER)?;
    for process in &processes {
        for row in &process.paths {
            writer.write_record(record(process, row))?;
        }
    }
    writer.into_inner().map_err(csv::IntoInnerError::into_error)
}

fn record(process: &Process, row: &PathRow) -> [String; 31] {
    let figures = &row.figures;
    let switches = figures.context_switches;
    let faults = figures.page_faults;
    [
        process.pid.to_string(),
        text(process.ppid),
        process.start_ns.to_string(),
        text(process.comm.as_deref()),
        text(process.exe.as_deref()),
        text(process.cgroup.as_deref()),
        text(process.container.as_deref()),
        text(process.exit_code),
        row.path.name().to_owned(),
        row.via.name().to_owned(),
        row.source.name().to_owned(),
        row.destination.name().to_owned(),
        figures.transfers.to_string(),
        figures.syscalls.to_string(),
        figures.bytes.to_string(),
        text(figures.cpu_copied_bytes),
        text(figures.by_reference_bytes),
        figures.unknown_bytes.to_string(),
        text(figures.device_read_bytes),
        text(figures.device_sent_bytes),
        figures.mode_switches.to_string(),
        text(switches.map(|switches| switches.voluntary)),
        text(switches.map(|switches| switches.involuntary)),
        text(faults.map(|faults| faults.minor)),
        text(faults.map(|faults| faults.major)),
        figures.verdict.name().to_owned(),
        figures.evidence.name().to_owned(),
        text(figures.reason),
        figures.rchar_bytes.to_string(),
        figures.wchar_bytes.to_string(),
        text(faults.and_then(|faults| faults.copy_on_write)),
    ]
}

fn text(value: Option<impl ToString>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}
