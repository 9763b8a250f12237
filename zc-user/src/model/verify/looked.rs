//! What a selection takes from a report, and what is known of it.

use std::collections::BTreeMap;

use zc_common::path::{Kind, Path};

use super::{Cause, Doubt, Expectation, Item, Match, Selection, Sums};
use crate::model::{
    reason::Reason,
    report::{End, Evidence, Figures, Flow, PathRow, Process, Report, Via},
};

/// What is known of some payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Share {
    copied: u64,
    by_reference: u64,
    unknown: u64,
}

impl Share {
    /// By the kernel's report alone, bytes are taken to have gone by reference only where it cannot be false: a
    /// clone shares, and received pages are mapped, or the call says otherwise. A report on `MSG_ZEROCOPY` does not
    /// know what the device had to do.
    fn of(path: Path, figures: &Figures) -> Self {
        let Figures { bytes, cpu_copied_bytes, by_reference_bytes, unknown_bytes, evidence, .. } = figures;
        let is_enough = match evidence {
            Evidence::Witnessed => true,
            Evidence::Reported => matches!(path, Path::CopyFileRange | Path::RecvZerocopy),
            Evidence::Inferred => false,
        };
        let said = by_reference_bytes.unwrap_or(0);
        let (by_reference, doubtful) = if is_enough { (said, 0) } else { (0, said) };
        let copied = cpu_copied_bytes.unwrap_or(0);
        let missing = bytes.saturating_sub(copied.saturating_add(by_reference));
        Self { copied, by_reference, unknown: doubtful.max(missing).max(*unknown_bytes) }
    }

    fn add(&mut self, other: Self) {
        self.copied = self.copied.saturating_add(other.copied);
        self.by_reference = self.by_reference.saturating_add(other.by_reference);
        self.unknown = self.unknown.saturating_add(other.unknown);
    }

    fn causes(&self, expectation: Expectation) -> Vec<Cause> {
        let broken = match expectation {
            Expectation::ZeroCopy(_) => (self.copied > 0).then_some(Cause::Copied),
            Expectation::Copied => (self.by_reference > 0).then_some(Cause::ByReference),
        };
        broken.into_iter().chain((self.unknown > 0).then_some(Cause::Unknown)).collect()
    }
}

/// A row of a process, or what its flows have in common with it.
type RowKey = (u32, u64, Path, Via, Kind, Kind);

/// A row's flows.
type FlowsOfRow<'a> = BTreeMap<RowKey, Vec<&'a Flow>>;

/// What was looked at, and what of it breaks the expectation.
#[derive(Default)]
pub(super) struct Looked {
    pub(super) sums: Sums,
    pub(super) rows: Vec<Item>,
    pub(super) flows: Vec<Item>,
}

impl Looked {
    /// Rows are judged, as they have all bytes; when names decide, flows.
    pub(super) fn at(report: &Report, selection: &Selection, expectation: Expectation) -> Self {
        let mut flows = FlowsOfRow::new();
        for flow in &report.flows {
            let kinds = (flow.source.kind, flow.destination.kind);
            let key = (flow.pid, flow.start_ns, flow.path, flow.via, kinds.0, kinds.1);
            flows.entry(key).or_default().push(flow);
        }
        let mut looked = Self::default();
        for process in &report.processes {
            for row in &process.paths {
                let key = (process.pid, process.start_ns, row.path, row.via, row.source, row.destination);
                let flows = flows.get(&key).map_or(&[][..], Vec::as_slice);
                let entry = Entry { process, row, flows, selection, expectation };
                if selection.needs_names() {
                    looked.flows_of(&entry);
                } else {
                    looked.row(&entry);
                }
            }
        }
        looked
    }

    fn row(&mut self, entry: &Entry<'_>) {
        let Entry { row, selection, expectation, .. } = entry;
        let is_selected = selection.matches(row.path, &end(row.source), &end(row.destination)) == Match::Yes;
        if !is_selected || !selection.is_large_enough(row.figures.bytes) {
            return;
        }
        let share = entry.share();
        self.count(row.figures.bytes, share);
        let causes = share.causes(*expectation);
        if causes.is_empty() {
            return;
        }
        self.rows.push(entry.item_of_row(causes));
        for flow in entry.flows {
            let causes = Share::of(flow.path, &flow.figures).causes(*expectation);
            if flow.figures.bytes > 0 && !causes.is_empty() {
                self.flows.push(entry.item_of_flow(flow, causes));
            }
        }
    }

    fn flows_of(&mut self, entry: &Entry<'_>) {
        let Entry { row, selection, expectation, .. } = entry;
        for flow in entry.flows {
            if !selection.is_large_enough(flow.figures.bytes) {
                continue;
            }
            let share = Share::of(flow.path, &flow.figures);
            let causes = match selection.matches(flow.path, &flow.source, &flow.destination) {
                Match::No => continue,
                Match::Maybe => {
                    self.unattributed(flow.figures.bytes);
                    vec![Cause::Unattributed]
                }
                Match::Yes => {
                    self.count(flow.figures.bytes, share);
                    share.causes(*expectation)
                }
            };
            if !causes.is_empty() {
                self.flows.push(entry.item_of_flow(flow, causes));
            }
        }
        // What has no name at all is in no flow.
        let rest = row.figures.bytes.saturating_sub(sum(entry.flows, |figures| figures.bytes));
        let is_selected = selection.matches(row.path, &end(row.source), &end(row.destination));
        if selection.is_large_enough(rest) && is_selected > Match::No {
            self.unattributed(rest);
            self.rows.push(entry.item_of_row(vec![Cause::Unattributed]));
        }
    }

    fn count(&mut self, bytes: u64, share: Share) {
        let Sums { entries, bytes: all, cpu_copied_bytes, by_reference_bytes, unknown_bytes, .. } =
            &mut self.sums;
        *entries += 1;
        for (sum, part) in [
            (all, bytes),
            (cpu_copied_bytes, share.copied),
            (by_reference_bytes, share.by_reference),
            (unknown_bytes, share.unknown),
        ] {
            *sum = sum.saturating_add(part);
        }
    }

    fn unattributed(&mut self, bytes: u64) {
        self.sums.unattributed_bytes = self.sums.unattributed_bytes.saturating_add(bytes);
    }

    /// What keeps the selected bytes from being judged.
    pub(super) fn doubts(&self) -> Vec<Doubt> {
        let Sums { entries, unknown_bytes, unattributed_bytes, .. } = self.sums;
        [
            (entries == 0).then_some(Doubt::NothingSelected),
            (unknown_bytes > 0).then_some(Doubt::UnknownBytes { bytes: unknown_bytes }),
            (unattributed_bytes > 0).then_some(Doubt::UnattributedBytes { bytes: unattributed_bytes }),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// A row, its flows, and what is asked of them.
struct Entry<'a> {
    process: &'a Process,
    row: &'a PathRow,
    flows: &'a [&'a Flow],
    selection: &'a Selection,
    expectation: Expectation,
}

impl Entry<'_> {
    /// Of the row. It has the weakest evidence of its parts, so when its flows are all of it, they say more.
    fn share(&self) -> Share {
        let figures = &self.row.figures;
        let same = |number: fn(&Figures) -> u64| sum(self.flows, number) == number(figures);
        let is_whole = same(|figures| figures.bytes)
            && same(|figures| figures.cpu_copied_bytes.unwrap_or(0))
            && same(|figures| figures.by_reference_bytes.unwrap_or(0))
            && same(|figures| figures.unknown_bytes);
        if !is_whole {
            return Share::of(self.row.path, figures);
        }
        let mut share = Share::default();
        for flow in self.flows {
            share.add(Share::of(flow.path, &flow.figures));
        }
        share
    }

    fn item_of_row(&self, broke: Vec<Cause>) -> Item {
        let PathRow { path: _, via, source, destination, figures } = self.row;
        self.item(*via, end(*source), end(*destination), figures, broke)
    }

    fn item_of_flow(&self, flow: &Flow, broke: Vec<Cause>) -> Item {
        self.item(flow.via, flow.source.clone(), flow.destination.clone(), &flow.figures, broke)
    }

    fn item(&self, via: Via, source: End, destination: End, figures: &Figures, broke: Vec<Cause>) -> Item {
        Item {
            broke,
            pid: self.process.pid,
            start_ns: self.process.start_ns,
            comm: self.process.comm.clone(),
            path: self.row.path,
            via,
            source,
            destination,
            bytes: figures.bytes,
            cpu_copied_bytes: figures.cpu_copied_bytes,
            by_reference_bytes: figures.by_reference_bytes,
            unknown_bytes: figures.unknown_bytes,
            verdict: figures.verdict,
            evidence: figures.evidence,
            reason: figures.reason,
            hint: figures.reason.and_then(Reason::hint),
        }
    }
}

/// An end of which no name is known.
pub(super) fn end(kind: Kind) -> End {
    End { kind, name: None, local: None }
}

fn sum(flows: &[&Flow], number: fn(&Figures) -> u64) -> u64 {
    flows.iter().fold(0, |sum, flow| sum.saturating_add(number(&flow.figures)))
}
