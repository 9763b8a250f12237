//! Whether what is expected holds of a report: one pure function, [`verify`].
//!
//! It answers that an expectation holds only when every selected byte is accounted for and nothing that could have
//! been selected is missing. Copies that were seen are enough to say that it does not hold. Everything else cannot
//! be decided.

use std::{cmp::Reverse, collections::BTreeMap};

use serde::Serialize;
use zc_common::path::{Kind, Path};

use self::looked::Looked;
use super::{
    inside,
    report::{Hook, HookStatus, Report},
};

mod answer;
mod looked;
mod selection;
mod words;

pub use answer::{Answer, Cause, Doubt, Item, Sums};
pub use selection::{Match, Peer, Selection, path};

/// What is expected of the selected bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// The processor copies none, or at most so many.
    ZeroCopy(Bound),
    /// The processor copies every one.
    Copied,
}

/// How many bytes may be copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// So many.
    Bytes(u64),
    /// So many thousandths of a percent of the payload. Bytes that are copied twice count twice.
    Share(u64),
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It is as expected.
    Holds,
    /// It is not.
    DoesNotHold,
    /// It was not seen well enough.
    CannotBeDecided,
}

/// Hooks without which numbers are null or bytes unknown, but no transfer is missing.
pub const HOOKS_OF_NUMBERS: [&str; 4] =
    ["sched_switch", "block_bio_queue", "inet_sk_error_report", "skb_copy_datagram_iovec"];
/// Hooks without which rows of mapped files are missing; they can be switched off.
pub const HOOKS_OF_PAGES: [&str; 2] = ["page_fault_kernel", "page_fault_user"];
/// The hook without which only pages that were mapped by reference are missing.
pub const HOOK_OF_MAPPED_PAGES: &str = "mm_filemap_map_pages";

/// Whether `expectation` holds of what is selected.
pub fn verify(report: &Report, selection: &Selection, expectation: Expectation) -> Answer {
    let looked = Looked::at(report, selection, expectation);
    let mut undecided = looked.doubts();
    undecided.extend(doubts_of(report, selection, expectation));
    let outcome = outcome(expectation, &looked.sums, &undecided);
    if outcome == Outcome::DoesNotHold {
        undecided.clear();
    }
    let Looked { sums, mut rows, mut flows } = looked;
    if outcome == Outcome::Holds {
        // What was copied within the bound broke nothing.
        (rows, flows) = (Vec::new(), Vec::new());
    }
    for items in [&mut rows, &mut flows] {
        items.sort_by_key(|item| Reverse((item.cpu_copied_bytes, item.unknown_bytes, item.bytes)));
    }
    let summary = words::summary(outcome, expectation, selection.needs_names(), &sums, &undecided);
    Answer { outcome, summary, undecided, selected: sums, rows, flows }
}

/// The rule.
fn outcome(expectation: Expectation, sums: &Sums, doubts: &[Doubt]) -> Outcome {
    let broken = match expectation {
        // What was not seen can only add to copies; it can be more payload too, and make their share smaller.
        Expectation::ZeroCopy(bound) => {
            bound.is_exceeded(sums) && (bound.is_absolute() || doubts.iter().all(Doubt::is_about_selected))
        }
        Expectation::Copied => sums.by_reference_bytes > 0,
    };
    match (broken, doubts) {
        (true, _) => Outcome::DoesNotHold,
        (false, []) => Outcome::Holds,
        (false, _) => Outcome::CannotBeDecided,
    }
}

impl Bound {
    fn is_exceeded(self, sums: &Sums) -> bool {
        let Sums { bytes, cpu_copied_bytes, .. } = *sums;
        match self {
            Self::Bytes(bound) => cpu_copied_bytes > bound,
            Self::Share(thousandths) => {
                u128::from(cpu_copied_bytes) * 100_000 > u128::from(bytes) * u128::from(thousandths)
            }
        }
    }

    /// Whether more payload does not change it.
    const fn is_absolute(self) -> bool {
        matches!(self, Self::Bytes(_) | Self::Share(0))
    }
}

impl Doubt {
    /// Whether it is about bytes that are among those selected.
    const fn is_about_selected(&self) -> bool {
        matches!(self, Self::UnknownBytes { .. })
    }
}

/// Whether transfers that may be selected can be missing for want of a hook.
fn is_needed(hook: &Hook, selection: &Selection, expectation: Expectation) -> bool {
    // What is before the colon is only how it is attached.
    let name = hook.name.rsplit(':').next().unwrap_or_default();
    let has_pages =
        || selection.matches(Path::Mmap, &looked::end(Kind::File), &looked::end(Kind::Memory)) > Match::No;
    match hook.status {
        HookStatus::Attached => false,
        HookStatus::Disabled => HOOKS_OF_PAGES.contains(&name) && has_pages(),
        HookStatus::Unavailable if HOOKS_OF_NUMBERS.contains(&name) || inside::HOOKS.contains(&name) => false,
        HookStatus::Unavailable if HOOKS_OF_PAGES.contains(&name) => has_pages(),
        // That copies are no more than so many bytes is not changed by what was not copied.
        HookStatus::Unavailable if name == HOOK_OF_MAPPED_PAGES => {
            has_pages() && !matches!(expectation, Expectation::ZeroCopy(bound) if bound.is_absolute())
        }
        HookStatus::Unavailable => true,
    }
}

/// Losses and gaps of the report as a whole.
fn doubts_of(report: &Report, selection: &Selection, expectation: Expectation) -> Vec<Doubt> {
    let counters: BTreeMap<_, _> = report
        .lost
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(name, count)| (name.clone(), *count))
        .collect();
    let lost = (!counters.is_empty()).then_some(Doubt::Lost { counters });
    let missing = report.hooks.iter().filter(|hook| is_needed(hook, selection, expectation));
    let missing =
        missing.map(|hook| Doubt::MissingHook { name: hook.name.clone(), reason: hook.reason.clone() });
    let omitted = report.omitted.is_some_and(|omitted| omitted.processes + omitted.paths + omitted.flows > 0);
    lost.into_iter().chain(missing).chain(omitted.then_some(Doubt::Omitted)).collect()
}

#[cfg(test)]
mod tests;
