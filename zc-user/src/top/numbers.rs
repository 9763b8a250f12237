//! The numbers of an interval: as they changed, and as they are shown.

use serde::{Serialize, Serializer, ser::SerializeMap as _};

use crate::model::interval::{RowChange, TotalsChange};

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    /// Payload, each byte once.
    Bytes,
    /// Bytes copied by the processor, as far as known.
    CpuCopiedBytes,
    /// Bytes handed on without a copy, as far as known.
    ByReferenceBytes,
    /// Payload of which it is not known, for at least one of its steps.
    UnknownBytes,
    /// Calls that moved at least one byte.
    Transfers,
    /// System calls that took one of the paths.
    Calls,
    /// System calls of every kind; of processes alone, and only where they are counted.
    AllCalls,
    /// Times that a thread blocked: of rows within the calls, of processes at all.
    VoluntarySwitches,
    /// Times that a thread was preempted, likewise.
    InvoluntarySwitches,
    /// Page faults without storage I/O, likewise.
    MinorFaults,
    /// Page faults with storage I/O, likewise.
    MajorFaults,
    /// Bytes that storage had to deliver.
    DeviceReadBytes,
    /// Payload that the kernel counts in `rchar` of `/proc/PID/io`.
    RcharBytes,
    /// Payload that the kernel counts in `wchar`.
    WcharBytes,
}

/// How many numbers there are.
pub const COUNT: usize = 14;

impl Number {
    /// All of them, in the order in which they are written.
    pub const ALL: [Self; COUNT] = [
        Self::Bytes,
        Self::CpuCopiedBytes,
        Self::ByReferenceBytes,
        Self::UnknownBytes,
        Self::Transfers,
        Self::Calls,
        Self::AllCalls,
        Self::VoluntarySwitches,
        Self::InvoluntarySwitches,
        Self::MinorFaults,
        Self::MajorFaults,
        Self::DeviceReadBytes,
        Self::RcharBytes,
        Self::WcharBytes,
    ];

    /// Its name in JSON and CSV. That of its rate has `_per_second` behind it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::CpuCopiedBytes => "cpu_copied_bytes",
            Self::ByReferenceBytes => "by_reference_bytes",
            Self::UnknownBytes => "unknown_bytes",
            Self::Transfers => "transfers",
            Self::Calls => "calls",
            Self::AllCalls => "all_calls",
            Self::VoluntarySwitches => "voluntary_context_switches",
            Self::InvoluntarySwitches => "involuntary_context_switches",
            Self::MinorFaults => "minor_page_faults",
            Self::MajorFaults => "major_page_faults",
            Self::DeviceReadBytes => "device_read_bytes",
            Self::RcharBytes => "rchar_bytes",
            Self::WcharBytes => "wchar_bytes",
        }
    }
}

/// What changed. A number can be negative: what is known of bytes that were moved earlier may change. `None` was not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes([Option<i64>; COUNT]);

/// The same as it is shown: never negative, see [`settle`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shown([Option<u64>; COUNT]);

/// What was shown too much earlier, and is still to be taken off.
pub(super) type Debts = [i64; COUNT];

/// What is not known adds nothing to what is.
fn sum<T>(a: Option<T>, b: Option<T>, add: impl FnOnce(T, T) -> T) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(add(a, b)),
        (known, None) | (None, known) => known,
    }
}

impl Changes {
    /// A number; `None` was not counted.
    pub fn get(&self, number: Number) -> Option<i64> {
        self.0[number as usize]
    }

    /// Puts a number in the place of another one.
    pub fn set(&mut self, number: Number, value: Option<i64>) {
        self.0[number as usize] = value;
    }

    /// Adds up.
    pub fn add(&mut self, other: &Self) {
        for (mine, other) in self.0.iter_mut().zip(other.0) {
            *mine = sum(*mine, other, i64::saturating_add);
        }
    }

    /// Those of a row.
    pub fn of_row(row: &RowChange) -> Self {
        let mut changes = Self::default();
        for (number, value) in [
            (Number::Bytes, Some(row.bytes)),
            (Number::CpuCopiedBytes, row.cpu_copied_bytes),
            (Number::ByReferenceBytes, row.by_reference_bytes),
            (Number::UnknownBytes, Some(row.unknown_bytes)),
            (Number::Transfers, Some(row.transfers)),
            (Number::Calls, Some(row.syscalls)),
            (Number::VoluntarySwitches, row.voluntary),
            (Number::InvoluntarySwitches, row.involuntary),
            (Number::MinorFaults, row.minor_faults),
            (Number::MajorFaults, row.major_faults),
            (Number::DeviceReadBytes, row.device_read_bytes),
            (Number::RcharBytes, Some(row.rchar_bytes)),
            (Number::WcharBytes, Some(row.wchar_bytes)),
        ] {
            changes.set(number, value);
        }
        changes
    }

    /// Those of a process that are more than sums over its rows.
    pub fn of_totals(totals: &TotalsChange) -> Self {
        let mut changes = Self::default();
        for (number, value) in [
            (Number::AllCalls, totals.syscalls),
            (Number::VoluntarySwitches, totals.voluntary),
            (Number::InvoluntarySwitches, totals.involuntary),
            (Number::MinorFaults, totals.minor_faults),
            (Number::MajorFaults, totals.major_faults),
            (Number::DeviceReadBytes, totals.device_read_bytes),
        ] {
            changes.set(number, value);
        }
        changes
    }

    /// Those of a process: its rows added up, and its totals where rows say less.
    pub fn of_process(rows: &Self, totals: &Self) -> Self {
        let mut changes = *totals;
        // Without rows nothing moved, which is known.
        let has_rows = rows.get(Number::Bytes).is_some();
        for number in MOVED {
            changes.set(number, if has_rows { rows.get(number) } else { Some(0) });
        }
        changes
    }
}

/// What rows say and totals of processes do not.
const MOVED: [Number; 8] = [
    Number::Bytes,
    Number::CpuCopiedBytes,
    Number::ByReferenceBytes,
    Number::UnknownBytes,
    Number::Transfers,
    Number::Calls,
    Number::RcharBytes,
    Number::WcharBytes,
];

impl Shown {
    /// A number; `None` was not counted.
    pub fn get(&self, number: Number) -> Option<u64> {
        self.0[number as usize]
    }

    /// A number, 0 when it was not counted.
    pub fn or_zero(&self, number: Number) -> u64 {
        self.get(number).unwrap_or(0)
    }

    /// Adds up.
    pub fn add(&mut self, other: &Self) {
        for (mine, other) in self.0.iter_mut().zip(other.0) {
            *mine = sum(*mine, other, u64::saturating_add);
        }
    }

    /// There is nothing to show.
    pub fn is_nothing(&self) -> bool {
        self.0.iter().all(|number| number.unwrap_or(0) == 0)
    }

    /// So much each second.
    pub fn per_second(&self, number: Number, seconds: f64) -> Option<f64> {
        let value = self.get(number)? as f64;
        Some(if seconds > 0.0 { value / seconds } else { 0.0 })
    }

    /// Copies of each byte; at least so many, where bytes are unknown. `None` when nothing moved or nothing is known.
    pub fn copies_per_byte(&self) -> Option<f64> {
        let bytes = self.get(Number::Bytes).filter(|bytes| *bytes > 0)?;
        Some(self.get(Number::CpuCopiedBytes)? as f64 / bytes as f64)
    }
}

/// What is shown of changes. What goes below nothing is shown as nothing and taken off what comes next, so that what was shown
/// always adds up to what changed and what is still owed.
pub(super) fn settle(changes: &Changes, debts: &mut Debts) -> Shown {
    let mut shown = Shown::default();
    for ((change, debt), shown) in changes.0.iter().zip(debts).zip(&mut shown.0) {
        if let Some(change) = change {
            let left = change.saturating_add(*debt);
            *debt = left.min(0);
            *shown = Some(left.max(0).unsigned_abs());
        }
    }
    shown
}

impl Serialize for Changes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(Number::ALL.iter().map(|&number| (number.name(), self.get(number))))
    }
}

/// Rates, for JSON.
pub(super) struct Rates<'a> {
    pub(super) shown: &'a Shown,
    pub(super) seconds: f64,
}

impl Serialize for Rates<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(COUNT + 1))?;
        for number in Number::ALL {
            let rate = self.shown.per_second(number, self.seconds);
            map.serialize_entry(&format!("{}_per_second", number.name()), &rate)?;
        }
        map.serialize_entry("copies_per_byte", &self.shown.copies_per_byte())?;
        map.end()
    }
}
