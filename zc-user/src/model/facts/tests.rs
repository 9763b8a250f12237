//! Properties that hold whatever is known of a row.

use proptest::prelude::*;

use super::*;
use crate::model::report::Verdict;

const KINDS: [Kind; 10] = [
    Kind::Unknown,
    Kind::File,
    Kind::Tcp,
    Kind::Udp,
    Kind::Unix,
    Kind::Pipe,
    Kind::Tty,
    Kind::Device,
    Kind::Memory,
    Kind::Other,
];

/// The paths of rows; the others are what reports show for some of them.
const PATHS: [Path; 11] = [
    Path::Read,
    Path::Write,
    Path::ReadWrite,
    Path::MmapWrite,
    Path::Sendfile,
    Path::CopyFileRange,
    Path::Splice,
    Path::Tee,
    Path::Vmsplice,
    Path::SendZerocopy,
    Path::RecvZerocopy,
];

fn end() -> impl Strategy<Value = EndKind> {
    let tls = prop_oneof![4 => Just(Tls::None), 1 => Just(Tls::Software), 1 => Just(Tls::Device)];
    (prop::sample::select(&KINDS[..]), any::<bool>(), tls).prop_map(|(kind, direct, tls)| {
        let tls = if kind == Kind::Tcp { tls } else { Tls::None };
        EndKind::new(kind, direct, tls)
    })
}

/// Shares of `bytes`: nothing, all, or anything between, and now and then more, as after a loss.
fn amount(bytes: u64) -> impl Strategy<Value = u64> {
    prop_oneof![3 => Just(0), 2 => Just(bytes), 3 => 0..=bytes, 1 => bytes..=bytes + 3]
}

fn seen(bytes: u64) -> impl Strategy<Value = Seen> {
    prop::collection::vec(amount(bytes), 10).prop_map(move |amounts| {
        let mut left = bytes + amounts[8] % 2;
        let mut share = |wanted: u64| {
            let share = wanted.min(left);
            left -= share;
            share
        };
        let mut seen = Seen {
            page_cache: share(amounts[0]),
            user: share(amounts[1]),
            private: share(amounts[2]),
            handed: share(amounts[3]),
            flattened: share(amounts[4]),
            linear: share(amounts[5]),
            elsewhere: share(amounts[6]),
            tapped: amounts[7],
            doubtful: amounts[7] % 5,
            ..Seen::default()
        };
        seen.bounced = amounts[9].min(seen.page_cache + seen.user);
        seen.bounced_handed = amounts[9].min(seen.handed);
        seen.bounced_again = amounts[9].min(seen.private + seen.flattened + seen.linear);
        seen
    })
}

fn facts() -> impl Strategy<Value = Facts> {
    let bytes = prop_oneof![1 => Just(0_u64), 8 => 1_u64..1000];
    let ends = (prop::sample::select(&PATHS[..]), end(), end(), any::<[bool; 5]>());
    (bytes, ends).prop_flat_map(|(bytes, (path, source, destination, flags))| {
        (amount(bytes), amount(bytes), seen(bytes)).prop_map(move |(copied, by_reference, seen)| {
            let [is_pair, is_special, source_by_ring, filled_by_device, copy_unseen] = flags;
            // Such a row has no bytes but those of which the program was told.
            let (copied, by_reference) = match path {
                Path::RecvZerocopy => (copied.min(bytes), bytes.saturating_sub(copied)),
                _ => (copied, by_reference),
            };
            Facts {
                path,
                source,
                destination,
                // As `EntryKey::is_pair` has it.
                is_pair: path == Path::ReadWrite || (path == Path::SendZerocopy && is_pair),
                is_special,
                source_by_ring,
                bytes,
                copied,
                by_reference,
                filled_by_device,
                seen,
                copy_unseen,
            }
        })
    })
}

/// The same, if nobody has seen anything of it.
fn unseen(facts: &Facts) -> Facts {
    Facts {
        copied: 0,
        by_reference: 0,
        filled_by_device: false,
        seen: Seen::default(),
        copy_unseen: true,
        ..*facts
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn zero_copy_has_no_copied_byte_and_none_unknown(facts in facts()) {
        let copies = facts.copies();
        if copies.verdict(facts.bytes) == Verdict::ZeroCopy {
            prop_assert_eq!(copies.evidence, Evidence::Witnessed);
            prop_assert_eq!((copies.copied, copies.unknown), (Some(0), 0));
            prop_assert_eq!(copies.by_reference, Some(facts.bytes));
            let Seen { private, flattened, linear, elsewhere, doubtful, bounced, bounced_handed, .. } = facts.seen;
            let leaves = leaves_by(facts.destination) && !facts.has_legs();
            let left = private + flattened + linear + elsewhere + bounced + bounced_handed;
            prop_assert!(!leaves || left == 0, "{} bytes left otherwise, {} doubtful", left, doubtful);
        }
    }

    #[test]
    fn zero_copy_needs_somebody_who_saw_it(facts in facts()) {
        let facts = unseen(&facts);
        prop_assert_ne!(facts.copies().verdict(facts.bytes), Verdict::ZeroCopy);
        prop_assert_ne!(facts.copies().verdict(facts.bytes), Verdict::Mixed);
    }

    #[test]
    fn without_evidence_calls_that_hand_on_are_unknown(facts in facts()) {
        let facts = unseen(&facts);
        // What TLS in the kernel encrypts is copied, whatever was seen, and into files splice copies.
        let plain = facts.source.tls == Tls::None && facts.destination.tls == Tls::None;
        let handed_on = matches!(facts.path, Path::Sendfile | Path::CopyFileRange) && !facts.is_special;
        if plain && handed_on && facts.bytes > 0 {
            let copies = facts.copies();
            prop_assert_eq!((copies.unknown, copies.copied), (facts.bytes, None));
            prop_assert_eq!(copies.verdict(facts.bytes), Verdict::Unknown);
        }
    }

    #[test]
    fn mixed_names_both_shares(facts in facts()) {
        let copies = facts.copies();
        if copies.verdict(facts.bytes) == Verdict::Mixed {
            prop_assert!(copies.copied > Some(0) && copies.by_reference > Some(0));
            prop_assert_eq!(copies.evidence, Evidence::Witnessed);
        }
    }

    #[test]
    fn no_byte_is_both_by_reference_and_unknown(facts in facts()) {
        let copies = facts.copies();
        let by_reference = copies.by_reference.unwrap_or(0);
        prop_assert!(by_reference <= facts.bytes, "{} by reference", by_reference);
        prop_assert!(copies.unknown <= facts.bytes, "{} unknown", copies.unknown);
        // On their way through memory, one leg may be known where the other is not.
        if !facts.has_legs() && !facts.is_pair {
            prop_assert!(by_reference + copies.unknown <= facts.bytes);
        }
    }

    #[test]
    fn each_byte_is_copied_only_as_often_as_there_are_steps(facts in facts()) {
        // Into memory, out of it, into one piece, and by the driver; what is looked at and left comes beside.
        let peeked = if facts.path == Path::Read { facts.copied } else { 0 };
        let copied = facts.copies().copied.unwrap_or(0);
        prop_assert!(copied <= 4 * facts.bytes + peeked, "{} of {} bytes", copied, facts.bytes);
    }

    #[test]
    fn a_reason_is_given_for_all_but_zero_copy(facts in facts()) {
        let copies = facts.copies();
        if facts.bytes > 0 {
            prop_assert_ne!(copies.reason, Reason::NoBytes);
        }
    }

    #[test]
    fn a_false_report_never_makes_zero_copy(facts in facts()) {
        let facts = Facts {
            path: Path::SendZerocopy,
            is_pair: false,
            copied: 0,
            by_reference: facts.bytes,
            ..facts
        };
        let in_one_piece = facts.seen.flattened + facts.seen.linear;
        if facts.seen.bytes() <= facts.bytes && in_one_piece > 0 {
            prop_assert_ne!(facts.copies().verdict(facts.bytes), Verdict::ZeroCopy);
        }
    }
}
