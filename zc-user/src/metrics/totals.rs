//! Running sums over intervals, in memory that has a bound.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use zc_common::{loss::Loss, path::Path};

use super::{
    services::{Caps, Services},
    slug,
    sum::{Known, Moved, Sum},
};
use crate::model::{
    account::{LOST_ROWS_UNKNOWN, LOST_UNPAIRED},
    interval::{Interval, ProcessChange, RowChange, RowName, TotalsChange},
    report::Evidence,
};

/// Losses that user space finds, beside those of the kernel side and of the model.
const LOST_IN_USER_SPACE: [&str; 2] = ["missed_runs", "malformed_records"];
/// Losses of a name that this version does not know.
const LOST_OTHERWISE: &str = "other";

/// Everything that was counted since the start.
///
/// Names of files, of sockets and of processes are in no sum, but for the names of services, of which there are as many as
/// [`Caps`] says; everything else has values of a closed set.
#[derive(Clone, Debug)]
pub struct Totals {
    pub(super) looks: u64,
    pub(super) start: Option<Timestamp>,
    pub(super) last: Option<Last>,
    pub(super) processes_ended: u64,
    pub(super) lost: BTreeMap<&'static str, u64>,
    pub(super) moved: Moved,
    pub(super) known: BTreeMap<Evidence, Sum>,
    pub(super) rows: HashMap<RowName, RowSums>,
    pub(super) reasons: BTreeMap<&'static str, Sum>,
    pub(super) fallbacks: BTreeMap<(Path, &'static str), Sum>,
    pub(super) processes: ProcessSums,
    pub(super) services: Option<Services>,
}

/// The last interval.
#[derive(Clone, Copy, Debug)]
pub(super) struct Last {
    pub(super) end: Timestamp,
    pub(super) seconds: f64,
}

/// Sums of a path between two kinds of ends.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RowSums {
    pub(super) moved: Moved,
    pub(super) transfers: Sum,
    pub(super) syscalls: Sum,
}

/// Sums of what processes cost, in transfers or not.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ProcessSums {
    pub(super) syscalls: Known,
    pub(super) exception_mode_switches: Known,
    pub(super) voluntary: Known,
    pub(super) involuntary: Known,
    pub(super) minor_faults: Known,
    pub(super) major_faults: Known,
    pub(super) device_read_bytes: Known,
}

impl Totals {
    /// Nothing yet.
    pub fn new(caps: Caps) -> Self {
        // All losses are there from the beginning: of a counter that begins at 3, nobody sees that it grew.
        let lost = Loss::ALL.map(Loss::name).into_iter().chain(LOST_IN_USER_SPACE);
        let lost = lost.chain([LOST_UNPAIRED, LOST_ROWS_UNKNOWN]).map(|name| (name, 0)).collect();
        let known = [Evidence::Witnessed, Evidence::Reported, Evidence::Inferred];
        Self {
            looks: 0,
            start: None,
            last: None,
            processes_ended: 0,
            lost,
            moved: Moved::default(),
            known: known.map(|evidence| (evidence, Sum::default())).into(),
            rows: HashMap::new(),
            reasons: BTreeMap::new(),
            fallbacks: BTreeMap::new(),
            processes: ProcessSums::default(),
            services: Services::new(caps),
        }
    }

    /// Adds an interval: each once, in their order.
    pub fn add(&mut self, interval: &Interval) {
        let Interval { start, end, lost, processes } = interval;
        self.looks = self.looks.saturating_add(1);
        self.start.get_or_insert(*start);
        self.last = Some(Last { end: *end, seconds: end.duration_since(*start).as_secs_f64() });
        for (name, count) in lost {
            self.add_lost(name, *count);
        }
        for process in processes {
            self.add_process(process);
        }
        self.settle();
    }

    fn add_lost(&mut self, name: &str, count: u64) {
        let known = self.lost.keys().find(|known| **known == name);
        let sum = self.lost.entry(known.copied().unwrap_or(LOST_OTHERWISE)).or_default();
        *sum = sum.saturating_add(count);
    }

    fn add_process(&mut self, process: &ProcessChange) {
        if process.exit_code.is_some() {
            self.processes_ended = self.processes_ended.saturating_add(1);
        }
        self.processes.add(&process.totals);
        for row in &process.rows {
            self.add_row(row);
        }
        if let Some(services) = &mut self.services {
            services.add(process);
        }
    }

    fn add_row(&mut self, row: &RowChange) {
        self.moved.add(row);
        let known = row.bytes.saturating_sub(row.unknown_bytes);
        self.known.entry(row.evidence).or_default().add(known);
        let sums = self.rows.entry(row.name).or_default();
        sums.moved.add(row);
        sums.transfers.add(row.transfers);
        sums.syscalls.add(row.syscalls);
        if let Some(copied) = row.cpu_copied_bytes.filter(|&copied| copied != 0) {
            self.reasons.entry(slug::of_copies(row.reason)).or_default().add(copied);
            if let Some(reason) = slug::of_fallback(row) {
                self.fallbacks.entry((row.name.path, reason)).or_default().add(copied);
            }
        }
    }

    fn settle(&mut self) {
        self.moved.settle();
        self.processes.settle();
        self.rows.values_mut().for_each(RowSums::settle);
        let by_name = self.known.values_mut().chain(self.reasons.values_mut());
        by_name.chain(self.fallbacks.values_mut()).for_each(Sum::settle);
        if let Some(services) = &mut self.services {
            services.settle();
        }
    }
}

impl RowSums {
    fn settle(&mut self) {
        let Self { moved, transfers, syscalls } = self;
        moved.settle();
        transfers.settle();
        syscalls.settle();
    }
}

impl ProcessSums {
    fn add(&mut self, change: &TotalsChange) {
        let Self {
            syscalls,
            exception_mode_switches,
            voluntary,
            involuntary,
            minor_faults,
            major_faults,
            device_read_bytes,
        } = self;
        syscalls.add(change.syscalls);
        exception_mode_switches.add(change.exception_mode_switches);
        voluntary.add(change.voluntary);
        involuntary.add(change.involuntary);
        minor_faults.add(change.minor_faults);
        major_faults.add(change.major_faults);
        device_read_bytes.add(change.device_read_bytes);
    }

    fn settle(&mut self) {
        let Self {
            syscalls,
            exception_mode_switches,
            voluntary,
            involuntary,
            minor_faults,
            major_faults,
            device_read_bytes,
        } = self;
        for sum in [
            syscalls,
            exception_mode_switches,
            voluntary,
            involuntary,
            minor_faults,
            major_faults,
            device_read_bytes,
        ] {
            sum.settle();
        }
    }
}
