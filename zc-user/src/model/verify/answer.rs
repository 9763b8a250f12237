//! The answer, as it is written to JSON.

use std::collections::BTreeMap;

use serde::Serialize;
use zc_common::path::Path;

use super::Outcome;
use crate::model::{
    names,
    reason::Reason,
    report::{End, Evidence, Verdict, Via},
};

/// The answer to an expectation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer {
    /// The answer.
    #[serde(rename = "answer")]
    pub outcome: Outcome,
    /// The answer in one line.
    pub summary: String,
    /// What keeps it from being decided; nothing when the rest is enough.
    pub undecided: Vec<Doubt>,
    /// What was looked at.
    pub selected: Sums,
    /// Rows that broke it.
    pub rows: Vec<Item>,
    /// Flows that broke it.
    pub flows: Vec<Item>,
}

/// Something that keeps an answer from being given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "what")]
#[expect(missing_docs, reason = "said at the variants")]
pub enum Doubt {
    /// No row or flow with bytes is selected.
    NothingSelected,
    /// It is not known how these moved.
    UnknownBytes { bytes: u64 },
    /// They may be selected, but have no name that would tell.
    UnattributedBytes { bytes: u64 },
    /// Counters of losses.
    Lost { counters: BTreeMap<String, u64> },
    /// A hook that sees transfers, and why it is not there.
    MissingHook { name: String, reason: Option<String> },
    /// Parts of the report were left out.
    Omitted,
}

/// What is known of selected bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sums {
    /// Rows or flows.
    pub entries: u64,
    /// Payload.
    pub bytes: u64,
    /// Bytes copied by the processor, those that were copied twice counted twice.
    pub cpu_copied_bytes: u64,
    /// Bytes handed on by reference, by evidence that is good enough.
    pub by_reference_bytes: u64,
    /// Payload of which neither is known well enough.
    pub unknown_bytes: u64,
    /// Payload that may be selected, or not. Not in the other numbers.
    pub unattributed_bytes: u64,
}

/// A row or a flow that broke an expectation.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[expect(missing_docs, reason = "as in a report")]
pub struct Item {
    /// How it broke it.
    pub broke: Vec<Cause>,
    pub pid: u32,
    pub start_ns: u64,
    pub comm: Option<String>,
    #[serde(with = "names::path")]
    pub path: Path,
    pub via: Via,
    pub source: End,
    pub destination: End,
    pub bytes: u64,
    pub cpu_copied_bytes: Option<u64>,
    pub by_reference_bytes: Option<u64>,
    pub unknown_bytes: u64,
    pub verdict: Verdict,
    pub evidence: Evidence,
    pub reason: Option<Reason>,
    /// What can be done about it.
    pub hint: Option<&'static str>,
}

/// How something broke an expectation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// Bytes were copied.
    Copied,
    /// Bytes went by reference.
    ByReference,
    /// It is not known well enough.
    Unknown,
    /// No name tells whether it is selected.
    Unattributed,
}
