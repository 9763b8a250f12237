//! What happened in one interval, ready to be shown.

use std::{cmp::Reverse, collections::BTreeMap};

use jiff::Timestamp;

use super::numbers::{Changes, Number, Shown};
use crate::{
    model::{
        interval::{RowName, Who},
        reason::Reason,
        report::{Evidence, Verdict},
        verdict::{Known, verdict},
    },
    render::view::Sort,
};

/// One interval.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Frame {
    /// When it began.
    pub start: Timestamp,
    /// When it ended.
    pub end: Timestamp,
    /// How long it was, by the monotonic clock.
    pub seconds: f64,
    /// Losses in it, by counter; those that had none are left out.
    pub lost: BTreeMap<String, u64>,
    /// What else is to be said, a sentence each.
    pub notes: Vec<String>,
    /// Processes of which anything changed.
    pub processes: Vec<ProcessFrame>,
    /// All of them together.
    pub total: Moved,
}

/// What a process did.
#[derive(Clone, Debug, PartialEq)]
pub struct ProcessFrame {
    /// Who it is.
    pub who: Who,
    /// Its exit code when it ended in the interval, 128 + n after signal n.
    pub exit_code: Option<i32>,
    /// All its rows together, and what it cost.
    pub moved: Moved,
    /// What it moved, by path and kinds of ends.
    pub rows: Vec<RowFrame>,
}

/// What a process moved on one path.
#[derive(Clone, Debug, PartialEq)]
pub struct RowFrame {
    /// Which.
    pub name: RowName,
    /// How much.
    pub moved: Moved,
    /// How what is known of it is known.
    pub evidence: Evidence,
    /// Why.
    pub reason: Option<Reason>,
}

/// Numbers of an interval, and what is to be said of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// As they changed.
    pub changes: Changes,
    /// As they are shown.
    pub shown: Shown,
    /// What the verdict comes from: what was added, without what was taken off elsewhere. So that it is never `zero-copy` because
    /// copies of one row were set against a correction of another one.
    known: Known,
}

impl Default for Moved {
    fn default() -> Self {
        // Of nothing, everything is known in the best way; what is added makes it worse.
        let known =
            Known { bytes: 0, copied: None, by_reference: None, unknown: 0, evidence: Evidence::Witnessed };
        Self { changes: Changes::default(), shown: Shown::default(), known }
    }
}

impl Moved {
    /// Those of a row.
    pub(super) fn of_row(changes: Changes, shown: Shown, evidence: Evidence) -> Self {
        let added = |number| {
            let change = changes.get(number).map(|change| change.max(0).unsigned_abs());
            change.max(shown.get(number))
        };
        let known = Known {
            bytes: added(Number::Bytes).unwrap_or(0),
            copied: added(Number::CpuCopiedBytes),
            by_reference: shown.get(Number::ByReferenceBytes),
            unknown: added(Number::UnknownBytes).unwrap_or(0),
            evidence,
        };
        Self { changes, shown, known }
    }

    /// Of several rows, with numbers of their own.
    pub(super) fn of_rows<'a>(
        changes: Changes,
        shown: Shown,
        rows: impl IntoIterator<Item = &'a Self>,
    ) -> Self {
        let mut known = Self::default().known;
        for row in rows {
            join(&mut known, &row.known);
        }
        Self { changes, shown, known }
    }

    /// Adds up.
    pub fn add(&mut self, other: &Self) {
        self.changes.add(&other.changes);
        self.shown.add(&other.shown);
        join(&mut self.known, &other.known);
    }

    /// The verdict on what moved in the interval; `None` when nothing did.
    pub fn verdict(&self) -> Option<Verdict> {
        (self.shown.or_zero(Number::Bytes) > 0).then(|| verdict(&self.known))
    }
}

fn join(all: &mut Known, one: &Known) {
    // What moved nothing says nothing of the rest.
    if one.bytes == 0 && one.copied.unwrap_or(0) == 0 && one.unknown == 0 {
        return;
    }
    let both = |a: Option<u64>, b: Option<u64>| match (a, b) {
        (Some(a), Some(b)) => Some(a.saturating_add(b)),
        (known, None) | (None, known) => known,
    };
    all.bytes = all.bytes.saturating_add(one.bytes);
    all.copied = both(all.copied, one.copied);
    all.by_reference = both(all.by_reference, one.by_reference);
    all.unknown = all.unknown.saturating_add(one.unknown);
    // Copies are believed however they are known; what is said to go by reference is as sure as the least sure of it.
    if one.by_reference.unwrap_or(0) > 0 {
        all.evidence = all.evidence.max(one.evidence);
    }
}

/// What the order goes by.
fn key(moved: &Moved, order: Sort) -> u64 {
    let number = match order {
        Sort::Bytes | Sort::Pid => Number::Bytes,
        Sort::Copied => Number::CpuCopiedBytes,
        Sort::Calls => Number::Calls,
    };
    moved.shown.or_zero(number)
}

impl Frame {
    /// Sorts processes, and the rows of each; what is equal is in the order of ids.
    pub fn sort(&mut self, order: Sort) {
        self.processes.sort_by_key(|process| (process.who.pid, process.who.start_ns));
        if order != Sort::Pid {
            self.processes.sort_by_key(|process| Reverse(key(&process.moved, order)));
        }
        for process in &mut self.processes {
            process.rows.sort_by_key(|row| Reverse(key(&row.moved, order)));
        }
    }
}
