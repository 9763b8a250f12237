//! The rule for verdicts. A wrong one is the worst that can happen, so all of it is here.

use super::report::{Evidence, Verdict};

/// What is known about the payload of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Payload.
    pub bytes: u64,
    /// Copied by the processor; `None` when of no byte it is known.
    pub copied: Option<u64>,
    /// Handed on by reference; `None` when of no byte it is known.
    pub by_reference: Option<u64>,
    /// Payload of which it is not known.
    pub unknown: u64,
    /// How the above is known.
    pub evidence: Evidence,
}

/// Judges a row.
///
/// - `zero-copy`: witnessed, every byte by reference, nothing copied, nothing unknown. Neither inference
///   nor the kernel's report to the application is ever enough.
/// - `mixed`: witnessed, and there are bytes of both sorts, whatever the rest is.
/// - `copied`: some bytes were copied, none is said to have gone by reference, nothing is unknown.
/// - `unknown`: everything else, a row without bytes among it.
pub fn verdict(known: &Known) -> Verdict {
    let copied = known.copied.unwrap_or(0);
    let by_reference = known.by_reference.unwrap_or(0);
    let witnessed = known.evidence == Evidence::Witnessed;
    match (copied > 0, by_reference > 0) {
        _ if known.bytes == 0 => Verdict::Unknown,
        (true, true) if witnessed => Verdict::Mixed,
        _ if known.unknown > 0 => Verdict::Unknown,
        (true, false) => Verdict::Copied,
        (false, true) if witnessed && known.copied == Some(0) && by_reference >= known.bytes => {
            Verdict::ZeroCopy
        }
        _ => Verdict::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Evidence::{Inferred, Reported, Witnessed};
    use proptest::prelude::*;

    #[test]
    fn verdicts_of_the_table() {
        let table = [
            // bytes, copied, by reference, unknown, evidence, verdict
            (10, Some(20), Some(0), 0, Inferred, Verdict::Copied),
            (10, Some(10), None, 0, Inferred, Verdict::Copied),
            (10, Some(10), Some(0), 10, Inferred, Verdict::Unknown),
            (10, None, None, 10, Inferred, Verdict::Unknown),
            (0, None, None, 0, Inferred, Verdict::Unknown),
            (10, Some(0), Some(10), 0, Inferred, Verdict::Unknown),
            (10, Some(0), Some(10), 0, Reported, Verdict::Unknown),
            (10, Some(0), Some(10), 0, Witnessed, Verdict::ZeroCopy),
            (10, None, Some(10), 0, Witnessed, Verdict::Unknown),
            (10, Some(0), Some(9), 0, Witnessed, Verdict::Unknown),
            (10, Some(0), Some(9), 1, Witnessed, Verdict::Unknown),
            (10, Some(4), Some(6), 0, Witnessed, Verdict::Mixed),
            (10, Some(4), Some(5), 1, Witnessed, Verdict::Mixed),
            (10, Some(4), Some(6), 0, Inferred, Verdict::Unknown),
            (10, Some(10), Some(0), 0, Witnessed, Verdict::Copied),
            (10, Some(0), Some(0), 0, Witnessed, Verdict::Unknown),
        ];
        for (bytes, copied, by_reference, unknown, evidence, expected) in table {
            let known = Known { bytes, copied, by_reference, unknown, evidence };
            assert_eq!(verdict(&known), expected, "{known:?}");
        }
    }

    fn known() -> impl Strategy<Value = Known> {
        let amount = || prop_oneof![Just(None), Just(Some(0_u64)), (1_u64..1000).prop_map(Some)];
        let evidence = prop::sample::select(vec![Witnessed, Reported, Inferred]);
        (0_u64..1000, amount(), amount(), 0_u64..3, evidence).prop_map(
            |(bytes, copied, by_reference, unknown, evidence)| Known {
                bytes,
                copied,
                by_reference,
                unknown,
                evidence,
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn zero_copy_is_said_only_of_bytes_that_were_all_seen_to_go_by_reference(known in known()) {
            if verdict(&known) == Verdict::ZeroCopy {
                prop_assert_eq!(known.evidence, Witnessed);
                prop_assert_eq!(known.copied, Some(0));
                prop_assert_eq!(known.unknown, 0);
                prop_assert!(known.bytes > 0 && known.by_reference >= Some(known.bytes));
            }
        }

        #[test]
        fn copied_is_never_said_when_something_is_unknown_or_by_reference(known in known()) {
            if verdict(&known) == Verdict::Copied {
                prop_assert!(known.copied > Some(0));
                prop_assert_eq!(known.by_reference.unwrap_or(0), 0);
                prop_assert_eq!(known.unknown, 0);
            }
        }
    }
}
