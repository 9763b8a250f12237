//! The textbook against what was measured: each number agrees, differs or is not known, and why where that is known. Pure.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use super::{
    measure::Measured,
    rows::{Case, Expected, Numbers, Row, Unit, Work},
    tell::{REPORTED, REPORTED_COPIED},
};

/// How a number stands to the textbook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Agreement {
    /// It is what the textbook says.
    Agrees,
    /// zc cannot tell.
    Unknown,
    /// It is something else.
    Differs,
}

/// Which number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the fields of Numbers, and the path")]
pub enum Number {
    Path,
    SystemCalls,
    ModeSwitches,
    CpuCopies,
    DeviceReads,
    DeviceSends,
    Faults,
}

/// What is said of one number.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Judgement {
    /// Which.
    pub number: Number,
    /// How it stands.
    pub agreement: Agreement,
    /// Why it differs or is not known; `None` when zc does not know that either.
    pub cause: Option<Cause>,
}

/// Why a number differs, or is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// The report has no row for the bytes.
    NoRow,
    /// Whether bytes were copied has to be seen in the kernel, and is not.
    NotWitnessed,
    /// The path has another name than expected.
    OtherPath,
    /// Loopback.
    Loopback,
    /// Virtual devices.
    Veth,
    /// What storage read was not counted.
    StorageNotCounted,
    /// More pages than asked for.
    ReadAhead,
    /// The cache was not as it should have been.
    CacheNotEmptied,
    /// `do_fault_around`.
    FaultAround,
    /// A fault within a call.
    FaultsInKernel,
    /// Interrupts.
    InterruptsNotCounted,
    /// `MSG_ZEROCOPY` over loopback.
    CopiedLate,
    /// A call moved less than it was asked for.
    InParts,
    /// Reports of `MSG_ZEROCOPY` that came one by one at the end.
    LateReports,
    /// Nothing of it was found.
    NotMeasured,
}

impl Cause {
    /// Every cause.
    pub const ALL: [Self; 15] = [
        Self::NoRow,
        Self::NotWitnessed,
        Self::OtherPath,
        Self::Loopback,
        Self::Veth,
        Self::StorageNotCounted,
        Self::ReadAhead,
        Self::CacheNotEmptied,
        Self::FaultAround,
        Self::FaultsInKernel,
        Self::InterruptsNotCounted,
        Self::CopiedLate,
        Self::InParts,
        Self::LateReports,
        Self::NotMeasured,
    ];

    /// The sentence.
    pub const fn text(self) -> &'static str {
        match self {
            Self::NoRow => "no row of the report shows these bytes",
            Self::NotWitnessed => {
                "not witnessed: whether these bytes were copied is seen only inside the kernel"
            }
            Self::OtherPath => "zc saw the bytes on another path than the one that was meant",
            Self::Loopback => "loopback has no network card: no device copies what is sent",
            Self::Veth => "a veth pair has no network card: no device copies what is sent",
            Self::StorageNotCounted => "zc did not count what was read from storage for this",
            Self::ReadAhead => {
                "the kernel read ahead: it brought in more than was asked for, or had done so before"
            }
            Self::CacheNotEmptied => "the page cache could not be emptied of the file, or filled with it",
            Self::FaultAround => {
                "a fault maps more than its page: cached pages around it (fault-around, 16) or a huge page"
            }
            Self::FaultsInKernel => "faults within a call are taken in kernel mode and are no mode switches",
            Self::InterruptsNotCounted => "zc does not count interrupts yet",
            Self::CopiedLate => {
                "the kernel reported that it copied after all: loopback delivers MSG_ZEROCOPY by copying"
            }
            Self::InParts => "a call moved less than it was asked for, and was repeated",
            Self::LateReports => "some completions were waited for after the last send",
            Self::NotMeasured => "its process or its flows are not in zc's report",
        }
    }
}

impl Serialize for Cause {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text())
    }
}

/// What the worker and the first worker said beside the report.
#[derive(Clone, Copy, Debug, Default)]
pub struct Told<'a> {
    /// Pages in the cache before, and pages of the file.
    pub resident: Option<(u64, u64)>,
    /// What the worker saw.
    pub facts: Option<&'a BTreeMap<String, u64>>,
}

/// Judges each number of which something is expected, and the path.
pub fn judge(row: &Row, case: &Case, measured: &Measured, told: Told<'_>) -> Vec<Judgement> {
    let Numbers { system_calls, mode_switches, cpu_copies, device_reads, device_sends, faults } =
        case.expected(row);
    let judge = Judge { row, case, measured, told };
    let numbers = [
        (Number::SystemCalls, system_calls, measured.system_calls),
        (Number::ModeSwitches, mode_switches, measured.mode_switches),
        (Number::CpuCopies, cpu_copies, measured.cpu_copies),
        (Number::DeviceReads, device_reads, measured.device_reads),
        (Number::DeviceSends, device_sends, measured.device_sends),
        (Number::Faults, faults, measured.faults()),
    ];
    let path = row.path.map(|path| judge.path(path));
    let numbers = numbers
        .into_iter()
        .filter_map(|(number, expected, found)| Some(judge.number(number, expected?, found)));
    path.into_iter().chain(numbers).collect()
}

struct Judge<'a> {
    row: &'a Row,
    case: &'a Case,
    measured: &'a Measured,
    told: Told<'a>,
}

impl Judge<'_> {
    /// Whether all of the payload was seen on the path that was meant.
    fn path(&self, path: &str) -> Judgement {
        let seen = |wanted: bool| -> u64 {
            self.measured
                .seen
                .iter()
                .filter(|seen| (seen.path == path) == wanted)
                .map(|seen| seen.bytes)
                .sum()
        };
        let (agreement, cause) = match (seen(true) >= self.measured.bytes, seen(false)) {
            (true, _) => (Agreement::Agrees, None),
            (false, 0) => (Agreement::Unknown, Some(Cause::NoRow)),
            (false, _) => (Agreement::Differs, Some(Cause::OtherPath)),
        };
        Judgement { number: Number::Path, agreement, cause }
    }

    fn number(&self, number: Number, expected: Expected, found: Option<f64>) -> Judgement {
        let Some(found) = found else {
            return Judgement {
                number,
                agreement: Agreement::Unknown,
                cause: Some(self.why_unknown(number)),
            };
        };
        let expected = expected.with_faults(self.measured.faults().unwrap_or(0.0));
        if self.is_near(number, expected, found) {
            return Judgement { number, agreement: Agreement::Agrees, cause: None };
        }
        Judgement {
            number,
            agreement: Agreement::Differs,
            cause: self.why_different(number, expected, found),
        }
    }

    /// Equal, but for what rounds away: a hundredth, or one event of all transfers.
    fn is_near(&self, number: Number, expected: Expected, found: f64) -> bool {
        let one = 1.0 / self.measured.transfers.max(1) as f64;
        let room = match number {
            // Faults of a start differ a little from one to the next.
            Number::Faults | Number::ModeSwitches if self.has_faults() => 8.0 * one,
            // A mapping is made and unmade once for all of its records.
            Number::SystemCalls if self.row.unit == Unit::Record => 3.0 * one,
            _ => 0.0,
        };
        let near = |wanted: f64| (found - wanted).abs() <= 0.01f64.mul_add(wanted.abs(), room);
        match expected {
            Expected::Exactly(wanted) | Expected::AndTwoPerFault(wanted) => near(wanted),
            Expected::MoreThan(least) => found > least,
            Expected::Either(one, other) => near(one) || near(other),
        }
    }

    fn has_faults(&self) -> bool {
        self.case.expected(self.row).faults.is_some()
    }

    fn why_unknown(&self, number: Number) -> Cause {
        let seen = &self.measured.seen;
        match number {
            Number::ModeSwitches if self.case.work == Work::Spin => Cause::InterruptsNotCounted,
            Number::CpuCopies if seen.iter().any(|seen| seen.unknown_bytes > 0) => Cause::NotWitnessed,
            Number::DeviceSends => self.network(),
            Number::DeviceReads if seen.is_empty() => Cause::NoRow,
            Number::CpuCopies => Cause::NoRow,
            Number::DeviceReads => Cause::StorageNotCounted,
            _ => Cause::NotMeasured,
        }
    }

    fn why_different(&self, number: Number, expected: Expected, found: f64) -> Option<Cause> {
        let more = matches!(expected, Expected::Exactly(wanted) if found > wanted);
        let fact = |name| self.told.facts.and_then(|facts| facts.get(name)).copied().unwrap_or(0);
        match number {
            Number::DeviceSends => Some(self.network()),
            Number::DeviceReads if !self.cache_is_as_meant() => Some(Cause::CacheNotEmptied),
            Number::DeviceReads if self.row.unit == Unit::Page || more => Some(Cause::ReadAhead),
            Number::CpuCopies if more && fact(REPORTED_COPIED) > 0 => Some(Cause::CopiedLate),
            Number::Faults if !more => Some(Cause::FaultAround),
            Number::ModeSwitches if !more && self.kernel_faults() => Some(Cause::FaultsInKernel),
            Number::SystemCalls | Number::ModeSwitches if more && fact(REPORTED) > 0 => {
                Some(Cause::LateReports)
            }
            Number::SystemCalls | Number::ModeSwitches if more && self.comes_in_parts() => {
                Some(Cause::InParts)
            }
            _ => None,
        }
    }

    /// A full socket takes what it has room for; what the other process has found comes through a pipe.
    fn comes_in_parts(&self) -> bool {
        self.row.unit == Unit::Chunk || self.case.work == Work::ShareMapping
    }

    fn network(&self) -> Cause {
        if self.case.work == Work::SendfileWithoutSg { Cause::Veth } else { Cause::Loopback }
    }

    /// Whether faults were taken that were not taken in user mode.
    fn kernel_faults(&self) -> bool {
        self.measured.faults() > self.measured.user_faults
    }

    /// Empty when it should be cold, full when it should be warm. Not known is as meant.
    fn cache_is_as_meant(&self) -> bool {
        use super::rows::Cache;
        match (self.case.cache, self.told.resident) {
            (Cache::Cold, Some((resident, _))) => resident == 0,
            (Cache::Warm, Some((resident, pages))) => resident == pages,
            _ => true,
        }
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
