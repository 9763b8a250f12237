//! Sums of numbers that have a sign, as counters that only grow.
//!
//! What is known of bytes that were moved earlier may change: bytes leave the row `read` when the write is found that sent them
//! on. A counter that went back would be taken for one that began anew, and all that it had for new. So a counter shows the
//! most that its sum has been after an interval: it stands still for as long as what was taken back has not been made up for.

/// A sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum {
    now: i128,
    most: u64,
}

impl Sum {
    /// A change within an interval.
    pub(super) fn add(&mut self, change: i64) {
        self.now = self.now.saturating_add(i128::from(change));
    }

    /// The end of an interval. Not before: in which order its changes are added means nothing.
    pub(super) fn settle(&mut self) {
        self.most = self.most.max(self.gauge());
    }

    /// What a counter shows.
    pub(super) const fn counter(&self) -> u64 {
        self.most
    }

    /// What a gauge shows. Less than nothing is nothing: what is taken back may have been added under another name.
    pub(super) fn gauge(&self) -> u64 {
        u64::try_from(self.now.max(0)).unwrap_or(u64::MAX)
    }
}

/// A sum of what may not be counted: nothing is known until something was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Known(Option<Sum>);

impl Known {
    pub(super) fn add(&mut self, change: Option<i64>) {
        if let Some(change) = change {
            self.0.get_or_insert_default().add(change);
        }
    }

    pub(super) fn settle(&mut self) {
        if let Some(sum) = &mut self.0 {
            sum.settle();
        }
    }

    pub(super) fn counter(&self) -> Option<u64> {
        self.0.as_ref().map(Sum::counter)
    }
}

/// Payload, and what became of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Moved {
    pub(super) bytes: Sum,
    pub(super) copied: Known,
    pub(super) by_reference: Known,
    pub(super) unknown: Sum,
}

impl Moved {
    pub(super) fn add(&mut self, row: &crate::model::interval::RowChange) {
        self.bytes.add(row.bytes);
        self.copied.add(row.cpu_copied_bytes);
        self.by_reference.add(row.by_reference_bytes);
        self.unknown.add(row.unknown_bytes);
    }

    pub(super) fn settle(&mut self) {
        let Self { bytes, copied, by_reference, unknown } = self;
        bytes.settle();
        copied.settle();
        by_reference.settle();
        unknown.settle();
    }
}
