//! Intervals for tests, and what `Totals` make of them.

mod document;
mod golden;
mod negotiate;
mod properties;
mod services;
mod totals;

use jiff::Timestamp;
use zc_common::path::{Kind, Path};

use super::{Exposition, State, Totals, Value};
use crate::model::{
    interval::{Interval, ProcessChange, RowChange, RowName, Who},
    reason::Reason,
    report::{Evidence, SelfCost, Tool, Via},
};

/// A row of which so many bytes became so.
fn row(path: Path, bytes: i64, copied: Option<i64>, by_reference: Option<i64>, unknown: i64) -> RowChange {
    RowChange {
        name: RowName { path, via: Via::Syscall, source: Kind::File, destination: Kind::Tcp },
        transfers: bytes.signum(),
        syscalls: bytes.signum(),
        bytes,
        cpu_copied_bytes: copied,
        by_reference_bytes: by_reference,
        unknown_bytes: unknown,
        device_read_bytes: None,
        mode_switches: 2 * bytes.signum(),
        voluntary: None,
        involuntary: None,
        minor_faults: None,
        major_faults: None,
        rchar_bytes: 0,
        wchar_bytes: 0,
        evidence: Evidence::Inferred,
        reason: None,
    }
}

/// All of it copied, for this reason.
fn copied(path: Path, bytes: i64, reason: Reason) -> RowChange {
    RowChange { reason: Some(reason), ..row(path, bytes, Some(bytes), Some(0), 0) }
}

fn process(comm: &str, rows: Vec<RowChange>) -> ProcessChange {
    ProcessChange { who: Who { comm: Some(comm.to_owned()), ..Who::default() }, rows, ..Default::default() }
}

fn interval(processes: Vec<ProcessChange>) -> Interval {
    let time = |text: &str| text.parse::<Timestamp>().expect("a time");
    let (start, end) = (time("2026-03-01T12:00:00Z"), time("2026-03-01T12:00:05.25Z"));
    Interval { start, end, processes, ..Interval::default() }
}

fn state() -> State {
    State {
        tool: Tool { version: "0.1.0".to_owned(), commit: None },
        hooks: Vec::new(),
        self_cost: SelfCost::default(),
        processes: 3,
    }
}

fn exposed(totals: &Totals) -> Exposition {
    totals.expose(&state())
}

/// The value of a counter or gauge that counts.
fn count(out: &Exposition, name: &str, labels: &[&str]) -> Option<u64> {
    out.value(name, labels).map(|value| match value {
        Value::Integer(count) => count,
        Value::Float(number) => panic!("{name} is {number}"),
    })
}
