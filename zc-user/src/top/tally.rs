//! What happens until an interval is over.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;

use super::{
    frame::{Frame, Moved, ProcessFrame, RowFrame},
    numbers::{COUNT, Changes, Debts, settle},
};
use crate::model::{
    Interval,
    interval::{RowName, Who},
    reason::Reason,
    report::Evidence,
};

/// A process: its id and its start, as ids are used again.
type Id = (u32, u64);

/// Debts that are kept at most. They are of processes that moved bytes and then found that they had belonged elsewhere; whoever has
/// so many of them has ended long ago.
const DEBTS_MAX: usize = 1 << 16;

/// What happened since the last interval was over.
#[derive(Debug, Default)]
pub struct Tally {
    start: Option<Timestamp>,
    end: Timestamp,
    seconds: f64,
    lost: BTreeMap<String, u64>,
    processes: HashMap<Id, Process>,
    debts: HashMap<Owner, Debts>,
    /// Processes that ended in the interval before.
    ended: HashSet<Id>,
}

#[derive(Debug, Default)]
struct Process {
    who: Who,
    exit_code: Option<i32>,
    totals: Changes,
    rows: HashMap<RowName, Row>,
}

#[derive(Debug)]
struct Row {
    changes: Changes,
    evidence: Evidence,
    reason: Option<Reason>,
}

/// Whose numbers are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Owner {
    All,
    Process(Id),
    Row(Id, RowName),
}

impl Owner {
    fn process(&self) -> Option<Id> {
        match self {
            Self::All => None,
            Self::Process(id) | Self::Row(id, _) => Some(*id),
        }
    }
}

impl Tally {
    /// Takes in what changed in `seconds`, a part of the interval or all of it.
    pub fn add(&mut self, part: &Interval, seconds: f64) {
        self.start.get_or_insert(part.start);
        self.end = part.end;
        self.seconds += seconds.max(0.0);
        for (name, count) in &part.lost {
            *self.lost.entry(name.clone()).or_default() += count;
        }
        for change in &part.processes {
            let process = self.processes.entry((change.who.pid, change.who.start_ns)).or_default();
            process.who = change.who.clone();
            process.exit_code = change.exit_code.or(process.exit_code);
            process.totals.add(&Changes::of_totals(&change.totals));
            for row in &change.rows {
                let known = process.rows.entry(row.name).or_insert_with(|| Row {
                    changes: Changes::default(),
                    evidence: row.evidence,
                    reason: row.reason,
                });
                known.changes.add(&Changes::of_row(row));
                known.evidence = row.evidence;
                known.reason = row.reason;
            }
        }
    }

    /// Ends the interval: what happened in it.
    pub fn close(&mut self) -> Frame {
        let mut total = Changes::default();
        let mut ended = HashSet::new();
        let mut processes: Vec<_> = std::mem::take(&mut self.processes).into_iter().collect();
        processes.sort_by_key(|(id, _)| *id);
        let mut frames = Vec::with_capacity(processes.len());
        for (id, process) in processes {
            let mut rows = Vec::with_capacity(process.rows.len());
            let mut sum = Changes::default();
            for (name, Row { changes, evidence, reason }) in process.rows {
                sum.add(&changes);
                let shown = self.settle(Owner::Row(id, name), &changes);
                rows.push(RowFrame {
                    name,
                    moved: Moved::of_row(changes, shown, evidence),
                    evidence,
                    reason,
                });
            }
            rows.sort_by_key(|row| {
                let RowName { path, via, source, destination } = row.name;
                (path.name(), via, source.name(), destination.name())
            });
            let changes = Changes::of_process(&sum, &process.totals);
            total.add(&changes);
            let shown = self.settle(Owner::Process(id), &changes);
            let moved = Moved::of_rows(changes, shown, rows.iter().map(|row| &row.moved));
            if process.exit_code.is_some() {
                ended.insert(id);
            }
            frames.push(ProcessFrame { who: process.who, exit_code: process.exit_code, moved, rows });
        }
        if frames.is_empty() {
            total = Changes::of_process(&total, &total);
        }
        let shown = self.settle(Owner::All, &total);
        let total = Moved::of_rows(total, shown, frames.iter().map(|process| &process.moved));
        self.forget(ended);
        Frame {
            start: self.start.take().unwrap_or(self.end),
            end: self.end,
            seconds: std::mem::take(&mut self.seconds),
            lost: std::mem::take(&mut self.lost),
            notes: Vec::new(),
            processes: frames,
            total,
        }
    }

    fn settle(&mut self, owner: Owner, changes: &Changes) -> super::numbers::Shown {
        let mut debts = self.debts.get(&owner).copied().unwrap_or([0; COUNT]);
        let shown = settle(changes, &mut debts);
        if debts == [0; COUNT] {
            self.debts.remove(&owner);
        } else {
            self.debts.insert(owner, debts);
        }
        shown
    }

    /// What is owed by processes that ended before this interval is never made good.
    fn forget(&mut self, ended: HashSet<Id>) {
        let old = std::mem::replace(&mut self.ended, ended);
        self.debts.retain(|owner, _| owner.process().is_none_or(|id| !old.contains(&id)));
        if self.debts.len() > DEBTS_MAX {
            self.debts.retain(|owner, _| *owner == Owner::All);
        }
    }
}

#[cfg(test)]
#[path = "tally_tests.rs"]
pub(super) mod tests;
