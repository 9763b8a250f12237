//! Samples → report. Pure: the same samples always give the same report.
//!
//! `docs/accounting.md` says what each number means.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashSet},
};

use zc_common::row::{VALUE_CALLS_COUNTED, VALUE_FAULTS_COUNTED, VALUE_STORAGE_COUNTED};

use super::{
    entries::{Entries, EntryKey, Sum},
    flows::{self, Names},
    report::{
        ContextSwitches, Figures, Flow, ModeSwitches, PageFaults, PathRow, Process, Report, Schema, Tool,
    },
    samples::{Counted, ProcessSample, Samples, ThreadTotals},
};

/// Legs that pairs took more from than they had.
pub const LOST_UNPAIRED: &str = "unpaired";
/// Rows of a path that this version does not know.
pub const LOST_ROWS_UNKNOWN: &str = "rows_unknown";

/// When a process started, and its id.
type ProcessKey = (u64, u32);

/// What is known of one process.
#[derive(Default)]
struct Ledger<'a> {
    sample: Option<&'a ProcessSample>,
    entries: Entries,
    totals: ProcessTotals,
}

/// The totals of a process's threads.
#[derive(Default)]
struct ProcessTotals {
    threads: u64,
    calls_counted: u64,
    faults_counted: u64,
    storage_counted: u64,
    user_faults: u64,
    own: zc_common::row::Costs,
}

/// Makes the report.
pub fn account(samples: &Samples, tool: Tool) -> Report {
    let Samples { host, window, hooks, sampling, lost, self_cost, counted, objects, .. } = samples;
    let (mut ledgers, rows_unknown) = ledgers(samples);
    let mut unpaired = 0;
    for ledger in ledgers.values_mut() {
        ledger.entries.are_sampled = sampling.is_some();
        let short = ledger.entries.settle();
        // What a transfer took was read a moment before the leg that it took it from, or after it: the next look will have both.
        if !(samples.goes_on && ledger.is_alive()) {
            unpaired += short;
        }
    }
    let mut lost = lost.clone();
    for (name, count) in [(LOST_UNPAIRED, unpaired), (LOST_ROWS_UNKNOWN, rows_unknown)] {
        *lost.entry(name.to_owned()).or_default() += count;
    }

    let names = Names::new(objects);
    let mut processes = Vec::new();
    let mut flows = Vec::new();
    for (&(start_ns, pid), ledger) in &ledgers {
        processes.push(ledger.process(pid, start_ns, *counted));
        flows.extend(names.flows(&ledger.entries).into_iter().map(
            |flows::NamedFlow { path, via, source, destination, sum }| {
                let figures = figures(&sum, counted.by(via));
                Flow { pid, start_ns, path, via, source, destination, figures }
            },
        ));
    }
    processes.sort_by_key(|process| Reverse(process.bytes()));
    flows.sort_by_key(|flow| Reverse(flow.figures.bytes));
    Report {
        schema: Schema,
        tool,
        host: host.clone(),
        window: *window,
        hooks: hooks.clone(),
        sampling: *sampling,
        lost,
        self_cost: *self_cost,
        processes,
        flows,
        omitted: None,
    }
}

/// Every process that has a row, totals or a name, and how many rows could not be understood.
fn ledgers(samples: &Samples) -> (BTreeMap<ProcessKey, Ledger<'_>>, u64) {
    let mut ledgers = BTreeMap::<ProcessKey, Ledger<'_>>::new();
    let mut rows_unknown = 0;
    let mut ended = HashSet::new();
    for process in &samples.processes {
        ledgers.entry((process.start_ns, process.pid)).or_default().sample = Some(process);
    }
    for row in &samples.rows {
        let ledger = ledgers.entry((row.value.process_start_ns, row.value.tgid)).or_default();
        if let Some(totals) = ThreadTotals::of(row) {
            ended.insert((totals.tid, totals.thread_start_ns));
            ledger.totals.add(&totals);
        } else if let Some(key) = EntryKey::of(&row.key) {
            ledger.entries.add(key, &row.value, &row.seen, samples.counted.received);
        } else {
            rows_unknown += 1;
        }
    }
    for totals in &samples.live_totals {
        if !ended.contains(&(totals.tid, totals.thread_start_ns)) {
            ledgers.entry((totals.process_start_ns, totals.tgid)).or_default().totals.add(totals);
        }
    }
    (ledgers, rows_unknown)
}

impl ProcessTotals {
    fn add(&mut self, thread: &ThreadTotals) {
        self.threads += 1;
        self.calls_counted += u64::from(thread.flags & VALUE_CALLS_COUNTED != 0);
        self.faults_counted += u64::from(thread.flags & VALUE_FAULTS_COUNTED != 0);
        self.storage_counted += u64::from(thread.flags & VALUE_STORAGE_COUNTED != 0);
        self.user_faults += thread.user_faults;
        self.own.add(&thread.own);
    }

    /// A number that is valid when all of some threads counted it.
    fn when_all(&self, counted: u64, value: u64) -> Option<u64> {
        (self.threads > 0 && counted == self.threads).then_some(value)
    }
}

impl Ledger<'_> {
    fn is_alive(&self) -> bool {
        self.sample.is_none_or(|sample| sample.alive)
    }

    fn process(&self, pid: u32, start_ns: u64, counted: Counted) -> Process {
        let Self { sample, entries, totals } = self;
        let rows =
            entries.group(|key| Some((key.shown_path(), key.via(), key.source_kind, key.destination_kind)));
        let mut paths: Vec<_> = rows
            .into_iter()
            .map(|((path, via, source, destination), sum)| PathRow {
                path,
                via,
                source,
                destination,
                figures: figures(&sum, counted.by(via)),
            })
            .collect();
        paths.sort_by_key(|row| Reverse(row.figures.bytes));

        let syscalls = totals.when_all(totals.calls_counted, totals.own.calls);
        let exceptions = totals.when_all(totals.faults_counted, totals.user_faults);
        let known = totals.threads > 0;
        let sample = sample.cloned().unwrap_or_default();
        Process {
            pid,
            ppid: sample.ppid,
            start_ns,
            comm: self.sample.map(|_| sample.comm),
            exe: sample.exe,
            cmdline: sample.cmdline,
            cgroup: sample.cgroup,
            container: sample.container,
            exit_code: sample.exit_code,
            syscalls,
            mode_switches: ModeSwitches {
                syscall: syscalls.map(|calls| 2 * calls),
                exception: exceptions.map(|faults| 2 * faults),
                interrupt: None,
            },
            context_switches: known.then_some(ContextSwitches {
                voluntary: totals.own.voluntary,
                involuntary: totals.own.involuntary,
            }),
            page_faults: known.then_some(PageFaults {
                minor: totals.own.minor,
                major: totals.own.major,
                copy_on_write: None,
            }),
            device_read_bytes: totals.when_all(totals.storage_counted, totals.own.device_read_bytes),
            paths,
        }
    }
}

fn figures(sum: &Sum, counted: Counted) -> Figures {
    let Sum { bytes, rchar, wchar, transfers, costs, copies, user_faults, copy_on_write } = sum;
    Figures {
        transfers: *transfers,
        syscalls: costs.calls,
        bytes: *bytes,
        cpu_copied_bytes: copies.copied,
        by_reference_bytes: copies.by_reference,
        unknown_bytes: copies.unknown,
        device_read_bytes: counted.storage.then_some(costs.device_read_bytes),
        device_sent_bytes: None,
        mode_switches: 2 * (costs.calls + user_faults),
        context_switches: counted
            .switches
            .then_some(ContextSwitches { voluntary: costs.voluntary, involuntary: costs.involuntary }),
        page_faults: counted.faults.then_some(PageFaults {
            minor: costs.minor,
            major: costs.major,
            copy_on_write: *copy_on_write,
        }),
        seconds: None,
        verdict: copies.verdict(*bytes),
        evidence: copies.evidence,
        reason: Some(copies.reason),
        rchar_bytes: *rchar,
        wchar_bytes: *wchar,
    }
}

#[cfg(test)]
mod conservation;
#[cfg(test)]
mod tests;
