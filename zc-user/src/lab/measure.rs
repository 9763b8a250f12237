//! Report → what a transfer of a step cost. Pure.
//!
//! Calls, mode switches, faults and context switches are those of the process that made the transfers less those of one
//! that only got ready for them. Bytes and copies are those of the flows at the lab's own files and connection.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    plan::Step,
    rows::{Unit, Work},
    worker,
};
use crate::model::{
    reason::Reason,
    report::{Evidence, Figures, Flow, Process, Report, Verdict, Via},
};

/// Faults by which two processes that do the same may differ.
pub const NOISE_FAULTS: u64 = 4;

/// What one transfer cost. What is not known is `None`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Measured {
    /// Transfers that were made.
    pub transfers: u64,
    /// Payload of all of them, as the worker counted it.
    pub bytes: u64,
    /// System calls.
    pub system_calls: Option<f64>,
    /// Mode switches, by calls and by page faults taken in user mode.
    pub mode_switches: Option<f64>,
    /// Copies of each byte by the processor.
    pub cpu_copies: Option<f64>,
    /// Copies of each byte from storage to memory.
    pub device_reads: Option<f64>,
    /// Copies of each byte from memory to a network card.
    pub device_sends: Option<f64>,
    /// Page faults without storage I/O.
    pub minor_faults: Option<f64>,
    /// Page faults with storage I/O.
    pub major_faults: Option<f64>,
    /// Page faults taken in user mode: each two mode switches.
    pub user_faults: Option<f64>,
    /// Context switches: the thread blocked.
    pub voluntary_switches: Option<f64>,
    /// Context switches: the thread was preempted.
    pub involuntary_switches: Option<f64>,
    /// Time of a transfer while nothing is traced.
    pub seconds: Option<f64>,
    /// Time of a transfer while it is traced.
    pub seconds_traced: Option<f64>,
    /// Under which paths zc saw the payload.
    pub seen: Vec<Seen>,
}

/// A path on which payload was seen.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Seen {
    /// The path.
    pub path: &'static str,
    /// How the kernel was asked.
    pub via: Via,
    /// Kind of the source.
    pub source: &'static str,
    /// Kind of the destination.
    pub destination: &'static str,
    /// Payload.
    pub bytes: u64,
    /// CPU copies, as far as known.
    pub cpu_copied_bytes: Option<u64>,
    /// Payload of which that is not known.
    pub unknown_bytes: u64,
    /// Bytes from storage.
    pub device_read_bytes: Option<u64>,
    /// Bytes to a network card.
    pub device_sent_bytes: Option<u64>,
    /// The judgement.
    pub verdict: Verdict,
    /// How it is known.
    pub evidence: Evidence,
    /// Why.
    pub reason: Option<&'static str>,
}

/// The names of the lab's own files.
#[derive(Clone, Debug)]
pub struct Names {
    /// What is read.
    pub source: String,
    /// What is written.
    pub destination: String,
}

/// The cost of a transfer of `step`; `None` when its process is not in the report.
pub fn measure(report: &Report, names: &Names, step: &Step, bytes: u64) -> Option<Measured> {
    let busy = process(report, step)?;
    let idle = process(report, &Step { idle: true, ..*step })?;
    let per_transfer =
        |of: fn(&Process) -> Option<u64>| Some(less(of(busy)?, of(idle)?) as f64 / step.transfers as f64);
    // Where faults are no part of the row, a few more or fewer are those of another start.
    let faulty = step.case.expected(step.row).faults.is_some();
    let faults = |of: fn(&Process) -> Option<u64>| {
        let more = less(of(busy)?, of(idle)?);
        let more = if !faulty && more <= NOISE_FAULTS { 0 } else { more };
        Some(more as f64 / step.transfers as f64)
    };
    let system_calls = per_transfer(|process| process.syscalls);
    let user_faults = faults(|process| Some(process.mode_switches.exception? / 2));
    let seen = seen(report, names, busy, idle);
    let of_payload = |of: fn(&Seen) -> Option<u64>| {
        let sum = seen.iter().map(of).sum::<Option<u64>>()?;
        (bytes > 0 && !seen.is_empty()).then(|| sum as f64 / bytes as f64)
    };
    // Payload of which zc saw nothing may have been copied all the same.
    let covered = step.row.unit != Unit::Chunk || seen.iter().map(|seen| seen.bytes).sum::<u64>() >= bytes;
    let to_network = step.case.expected(step.row).device_sends.is_some();
    let known = seen.iter().all(|seen| seen.unknown_bytes == 0);
    Some(Measured {
        transfers: step.transfers,
        bytes,
        system_calls,
        mode_switches: if step.case.work == Work::Spin {
            per_transfer(|process| process.mode_switches.interrupt)
        } else {
            system_calls.zip(user_faults).map(|(calls, faults)| 2.0 * (calls + faults))
        },
        cpu_copies: if covered && known {
            of_payload(|seen| seen.cpu_copied_bytes.or(Some(0)))
        } else {
            None
        },
        device_reads: of_payload(|seen| seen.device_read_bytes),
        // The connections are the lab's own, over loopback and veth: there is no card.
        device_sends: of_payload(|seen| seen.device_sent_bytes).or(to_network.then_some(0.0)),
        minor_faults: faults(|process| process.page_faults.map(|faults| faults.minor)),
        major_faults: faults(|process| process.page_faults.map(|faults| faults.major)),
        user_faults,
        voluntary_switches: per_transfer(|process| {
            process.context_switches.map(|switches| switches.voluntary)
        }),
        involuntary_switches: per_transfer(|process| {
            process.context_switches.map(|switches| switches.involuntary)
        }),
        seconds: None,
        seconds_traced: None,
        seen,
    })
}

impl Measured {
    /// All faults of a transfer.
    pub fn faults(&self) -> Option<f64> {
        Some(self.minor_faults? + self.major_faults?)
    }
}

fn process<'a>(report: &'a Report, step: &Step) -> Option<&'a Process> {
    let tag = step.tag();
    report.processes.iter().find(|process| {
        process.cmdline.iter().any(|word| word == worker::NAME) && process.cmdline.last() == Some(&tag)
    })
}

const fn less(a: u64, b: u64) -> u64 {
    a.saturating_sub(b)
}

/// What went along each path between the lab's own ends: of the one process less of the other.
fn seen(report: &Report, names: &Names, busy: &Process, idle: &Process) -> Vec<Seen> {
    let mut all = collect(report, names, busy);
    for (key, before) in collect(report, names, idle) {
        if let Some(seen) = all.get_mut(&key) {
            seen.bytes = less(seen.bytes, before.bytes);
            seen.unknown_bytes = less(seen.unknown_bytes, before.unknown_bytes);
            seen.cpu_copied_bytes = difference(seen.cpu_copied_bytes, before.cpu_copied_bytes);
            seen.device_read_bytes = difference(seen.device_read_bytes, before.device_read_bytes);
            seen.device_sent_bytes = difference(seen.device_sent_bytes, before.device_sent_bytes);
        }
    }
    let mut seen: Vec<_> =
        all.into_values().filter(|seen| seen.bytes > 0 || seen.cpu_copied_bytes > Some(0)).collect();
    seen.sort_by_key(|seen| std::cmp::Reverse(seen.bytes));
    seen
}

fn difference(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    a.map(|a| less(a, b.unwrap_or(0)))
}

type Key = (&'static str, Via, &'static str, &'static str);

fn collect(report: &Report, names: &Names, process: &Process) -> BTreeMap<Key, Seen> {
    let mut all = BTreeMap::new();
    let own = report.flows.iter().filter(|flow| (flow.pid, flow.start_ns) == (process.pid, process.start_ns));
    for flow in own.filter(|flow| is_the_labs(flow, names)) {
        let key = (flow.path.name(), flow.via, flow.source.kind.name(), flow.destination.kind.name());
        add(&mut all, key, &flow.figures);
    }
    // Between pipes there are no names.
    for row in &process.paths {
        let key = (row.path.name(), row.via, row.source.name(), row.destination.name());
        if is_between_pipes(row.path.name()) && !all.contains_key(&key) {
            add(&mut all, key, &row.figures);
        }
    }
    all
}

fn is_between_pipes(path: &str) -> bool {
    matches!(path, "tee" | "vmsplice" | "splice")
}

fn is_the_labs(flow: &Flow, names: &Names) -> bool {
    [&flow.source, &flow.destination].into_iter().any(|end| {
        let name = end.name.as_deref().unwrap_or_default();
        end.kind.name() == "tcp"
            || [&names.source, &names.destination].into_iter().any(|own| name.starts_with(own.as_str()))
    })
}

fn add(all: &mut BTreeMap<Key, Seen>, key: Key, figures: &Figures) {
    let (path, via, source, destination) = key;
    let seen = all.entry(key).or_insert_with(|| Seen {
        path,
        via,
        source,
        destination,
        bytes: 0,
        cpu_copied_bytes: None,
        unknown_bytes: 0,
        device_read_bytes: None,
        device_sent_bytes: None,
        verdict: figures.verdict,
        evidence: figures.evidence,
        reason: figures.reason.map(Reason::text),
    });
    let sum = |a: Option<u64>, b: Option<u64>| a.map_or(b, |a| Some(a + b.unwrap_or(0)));
    seen.bytes += figures.bytes;
    seen.unknown_bytes += figures.unknown_bytes;
    seen.cpu_copied_bytes = sum(seen.cpu_copied_bytes, figures.cpu_copied_bytes);
    seen.device_read_bytes = sum(seen.device_read_bytes, figures.device_read_bytes);
    seen.device_sent_bytes = sum(seen.device_sent_bytes, figures.device_sent_bytes);
}

#[cfg(test)]
#[path = "measure_tests.rs"]
mod tests;
