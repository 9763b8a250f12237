use proptest::prelude::*;

use super::*;
use crate::model::report::Verdict;

const FILE: EndKind = EndKind::plain(Kind::File);
const DIRECT: EndKind = EndKind { direct: true, ..FILE };
const NOTHING: Seen = Seen {
    page_cache: 0,
    user: 0,
    private: 0,
    handed: 0,
    flattened: 0,
    linear: 0,
    elsewhere: 0,
    tapped: 0,
    doubtful: 0,
    bounced: 0,
    bounced_handed: 0,
    bounced_again: 0,
};

#[test]
fn pages_that_were_handed_on_are_what_they_were_seen_to_be() {
    use Reason::{
        BounceBuffer, CopiedIntoSocket, Flattened, HandedOn as ByReference, KernelPages, NoScatterGather,
        NotSeenLeaving, OtherDevice,
    };
    use Verdict::{Copied, Mixed, Unknown, ZeroCopy};
    let table = [
        // source, by device, seen; copied, by reference, unknown, reason, verdict
        (FILE, 0, Seen { page_cache: 10, ..NOTHING }, (Some(0), Some(10), 0), ByReference, ZeroCopy),
        (FILE, 0, Seen { user: 10, ..NOTHING }, (Some(0), Some(10), 0), ByReference, ZeroCopy),
        (
            FILE,
            0,
            Seen { page_cache: 10, tapped: 10, ..NOTHING },
            (Some(0), Some(10), 0),
            ByReference,
            ZeroCopy,
        ),
        (FILE, 0, Seen { flattened: 10, ..NOTHING }, (Some(10), Some(0), 0), NoScatterGather, Copied),
        (FILE, 0, Seen { linear: 10, ..NOTHING }, (Some(10), Some(0), 0), Flattened, Copied),
        (FILE, 0, Seen { private: 10, ..NOTHING }, (Some(10), Some(0), 0), CopiedIntoSocket, Copied),
        (
            FILE,
            0,
            Seen { page_cache: 6, flattened: 4, ..NOTHING },
            (Some(4), Some(6), 0),
            NoScatterGather,
            Mixed,
        ),
        (FILE, 0, Seen { page_cache: 6, ..NOTHING }, (Some(0), Some(6), 4), NotSeenLeaving, Unknown),
        (FILE, 0, Seen { handed: 10, ..NOTHING }, (None, None, 10), KernelPages, Unknown),
        (FILE, 10, Seen { handed: 10, ..NOTHING }, (None, None, 10), KernelPages, Unknown),
        (DIRECT, 10, Seen { handed: 10, ..NOTHING }, (Some(0), Some(10), 0), ByReference, ZeroCopy),
        (DIRECT, 9, Seen { handed: 10, ..NOTHING }, (None, None, 10), KernelPages, Unknown),
        (FILE, 0, Seen { elsewhere: 10, ..NOTHING }, (None, None, 10), OtherDevice, Unknown),
        (
            FILE,
            0,
            Seen { page_cache: 10, doubtful: 3, ..NOTHING },
            (Some(0), Some(7), 3),
            OtherDevice,
            Unknown,
        ),
        (
            FILE,
            0,
            Seen { page_cache: 10, bounced: 10, ..NOTHING },
            (Some(10), Some(0), 0),
            BounceBuffer,
            Copied,
        ),
        (FILE, 0, Seen { user: 10, bounced: 4, ..NOTHING }, (Some(4), Some(6), 0), BounceBuffer, Mixed),
        (
            FILE,
            0,
            Seen { page_cache: 10, bounced: 6, doubtful: 3, ..NOTHING },
            (Some(6), Some(1), 3),
            OtherDevice,
            Mixed,
        ),
        (
            FILE,
            0,
            Seen { private: 10, bounced_again: 10, ..NOTHING },
            (Some(20), Some(0), 0),
            BounceBuffer,
            Copied,
        ),
        (
            FILE,
            0,
            Seen { flattened: 10, bounced_again: 10, ..NOTHING },
            (Some(20), Some(0), 0),
            BounceBuffer,
            Copied,
        ),
        // How the bytes came there is not known, nor is whether they were copied only once.
        (FILE, 0, Seen { handed: 10, bounced_handed: 10, ..NOTHING }, (None, None, 10), KernelPages, Unknown),
        (
            DIRECT,
            10,
            Seen { handed: 10, bounced_handed: 10, ..NOTHING },
            (Some(10), Some(0), 0),
            BounceBuffer,
            Copied,
        ),
    ];
    for (source, by_device, seen, known, reason, verdict) in table {
        let copies = HandedOn { source, bytes: 10, by_device, came_by_reference: false, seen }
            .copies()
            .expect("something was seen");
        assert_eq!((copies.copied, copies.by_reference, copies.unknown), known, "{seen:?}");
        assert_eq!((copies.reason, copies.verdict(10)), (reason, verdict), "{seen:?}");
    }
    for seen in [NOTHING, Seen { page_cache: 11, ..NOTHING }] {
        assert_eq!(
            HandedOn { source: FILE, bytes: 10, by_device: 0, came_by_reference: false, seen }.copies(),
            None
        );
    }
}

#[test]
fn pages_of_the_kernel_are_by_reference_when_they_came_so() {
    let seen = Seen { handed: 10, ..NOTHING };
    for (kind, came_by_reference, verdict) in [
        (Kind::Pipe, false, Verdict::ZeroCopy),
        (Kind::Tcp, true, Verdict::ZeroCopy),
        (Kind::Tcp, false, Verdict::Unknown),
        (Kind::Unix, true, Verdict::ZeroCopy),
        (Kind::Unix, false, Verdict::Unknown),
        (Kind::File, true, Verdict::Unknown),
    ] {
        let source = EndKind::plain(kind);
        let handed_on = HandedOn { source, bytes: 10, by_device: 0, came_by_reference, seen };
        let copies = handed_on.copies().expect("something was seen");
        assert_eq!(copies.verdict(10), verdict, "{kind:?} {came_by_reference}");
    }
}

#[test]
fn bytes_of_connections_that_were_left_out_are_unknown_for_that_reason() {
    let table = [
        (Kind::Tcp, NOTHING, Reason::Sendfile, Reason::LeftOut),
        (Kind::Tcp, Seen { page_cache: 4, ..NOTHING }, Reason::NotSeenLeaving, Reason::LeftOut),
        // All were seen, or would not be seen in any session.
        (Kind::Tcp, Seen { elsewhere: 10, ..NOTHING }, Reason::OtherDevice, Reason::OtherDevice),
        (Kind::Udp, NOTHING, Reason::Sendfile, Reason::Sendfile),
        (Kind::File, NOTHING, Reason::Splice, Reason::Splice),
        (Kind::Tcp, NOTHING, Reason::EndUnknown, Reason::EndUnknown),
    ];
    for (kind, seen, before, after) in table {
        let mut copies = Copies::unknown(10, before);
        left_out(&mut copies, 10, kind, &seen);
        assert_eq!(copies, Copies::unknown(10, after), "{kind:?} {before}");
    }
}

#[test]
fn what_was_copied_to_a_connection_is_copied_again_when_it_is_made_one_piece() {
    let known = Copies { copied: Some(10), by_reference: Some(0), unknown: 0, ..Copies::none() };
    let table = [
        (Seen { private: 10, ..NOTHING }, 10, Evidence::Witnessed),
        (Seen { private: 9, ..NOTHING }, 10, Evidence::Inferred),
        (Seen { flattened: 10, ..NOTHING }, 20, Evidence::Witnessed),
        (Seen { private: 6, linear: 4, ..NOTHING }, 14, Evidence::Witnessed),
        (Seen { private: 11, ..NOTHING }, 10, Evidence::Inferred),
        (Seen { page_cache: 10, ..NOTHING }, 10, Evidence::Inferred),
        (Seen { private: 10, bounced_again: 10, ..NOTHING }, 20, Evidence::Witnessed),
        (Seen { flattened: 10, bounced_again: 10, ..NOTHING }, 30, Evidence::Witnessed),
        (NOTHING, 10, Evidence::Inferred),
    ];
    for (seen, copied, evidence) in table {
        let mut copies = Copies { reason: Reason::WrittenFromMemory, ..known };
        copied_on(&mut copies, 10, &seen, true);
        assert_eq!((copies.copied, copies.evidence), (Some(copied), evidence), "{seen:?}");
        let mut copies = Copies { reason: Reason::ThroughMemory, ..known };
        copied_on(&mut copies, 10, &seen, false);
        assert_eq!((copies.copied, copies.evidence), (Some(copied), Evidence::Inferred), "{seen:?}");
    }
}

#[test]
fn what_was_sent_by_zerocopy_is_what_was_seen_and_reported() {
    use Reason::{
        BounceBuffer, Captured, CopiedIntoSocket, HandedOn as ByReference, NoScatterGather, NotSeenLeaving,
        ZerocopyCopied, ZerocopyFalselyReported, ZerocopyReported, ZerocopyUnreported,
    };
    use Verdict::{Copied, Mixed, Unknown, ZeroCopy};
    let user = Seen { user: 10, ..NOTHING };
    let flat = Seen { flattened: 10, ..NOTHING };
    let table = [
        // filled by a read, (reported copied, not), seen; (copied, by reference, unknown), reason, verdict
        (None, (0, 0), NOTHING, (None, None, 10), ZerocopyUnreported, Unknown),
        (None, (10, 0), NOTHING, (Some(10), Some(0), 0), ZerocopyCopied, Copied),
        (None, (0, 10), NOTHING, (Some(0), Some(10), 0), ZerocopyReported, Unknown),
        (None, (4, 6), NOTHING, (Some(4), Some(6), 0), ZerocopyReported, Unknown),
        (None, (4, 0), NOTHING, (Some(4), Some(0), 6), ZerocopyUnreported, Unknown),
        (None, (99, 99), NOTHING, (Some(10), Some(0), 0), ZerocopyCopied, Copied),
        (None, (0, 10), user, (Some(0), Some(10), 0), ByReference, ZeroCopy),
        (None, (10, 0), user, (Some(10), Some(0), 0), ZerocopyCopied, Copied),
        (None, (10, 0), Seen { tapped: 10, ..user }, (Some(10), Some(0), 0), Captured, Copied),
        (None, (4, 6), user, (Some(4), Some(6), 0), ZerocopyCopied, Mixed),
        (None, (0, 10), flat, (Some(10), Some(0), 0), ZerocopyFalselyReported, Copied),
        (None, (10, 0), flat, (Some(10), Some(0), 0), NoScatterGather, Copied),
        (None, (0, 0), flat, (Some(10), Some(0), 0), NoScatterGather, Copied),
        (None, (0, 0), user, (None, None, 10), ZerocopyUnreported, Unknown),
        (None, (0, 10), Seen { user: 6, ..NOTHING }, (Some(0), Some(6), 4), NotSeenLeaving, Unknown),
        (None, (0, 10), Seen { private: 10, ..NOTHING }, (Some(10), Some(0), 0), CopiedIntoSocket, Copied),
        (
            None,
            (0, 10),
            Seen { user: 6, flattened: 4, ..NOTHING },
            (Some(4), Some(6), 0),
            ZerocopyFalselyReported,
            Mixed,
        ),
        (
            None,
            (4, 6),
            Seen { user: 6, flattened: 4, ..NOTHING },
            (Some(4), Some(2), 4),
            NotSeenLeaving,
            Mixed,
        ),
        // The kernel does not know of it.
        (None, (0, 10), Seen { bounced: 10, ..user }, (Some(10), Some(0), 0), BounceBuffer, Copied),
        (None, (0, 10), Seen { bounced: 4, ..user }, (Some(4), Some(6), 0), BounceBuffer, Mixed),
        (None, (0, 10), Seen { bounced_again: 10, ..flat }, (Some(20), Some(0), 0), BounceBuffer, Copied),
        (Some(FILE), (10, 0), NOTHING, (Some(20), Some(0), 0), ZerocopyCopied, Copied),
        (Some(FILE), (0, 10), user, (Some(10), Some(10), 0), ByReference, Unknown),
        (Some(FILE), (0, 0), NOTHING, (Some(10), Some(0), 10), ZerocopyUnreported, Unknown),
        (Some(DIRECT), (10, 0), NOTHING, (Some(10), Some(0), 10), Reason::DirectIo, Unknown),
    ];
    for (read, (copied, by_reference), seen, known, reason, verdict) in table {
        let copies = sent_zerocopy(10, read, Reported { copied, by_reference }, &seen);
        let what = format!("{read:?} {copied} {by_reference} {seen:?}");
        assert_eq!((copies.copied, copies.by_reference, copies.unknown), known, "{what}");
        assert_eq!((copies.reason, copies.verdict(10)), (reason, verdict), "{what}");
    }
    assert_eq!(sent_zerocopy(0, None, Reported::default(), &NOTHING), Copies::none());
}

fn seen() -> impl Strategy<Value = Seen> {
    let amount = || prop_oneof![Just(0_u64), 1_u64..500];
    // In tenths of what they are of.
    let share = || prop_oneof![2 => Just(0_u64), 1 => Just(10), 1 => 0_u64..=10];
    (prop::collection::vec(amount(), 9), share(), share(), share()).prop_map(
        |(amounts, some, handed, again)| {
            let mut seen = Seen {
                page_cache: amounts[0],
                user: amounts[1],
                private: amounts[2],
                handed: amounts[3],
                flattened: amounts[4],
                linear: amounts[5],
                elsewhere: amounts[6],
                tapped: amounts[7],
                doubtful: amounts[8],
                ..NOTHING
            };
            seen.bounced = (seen.page_cache + seen.user) * some / 10;
            seen.bounced_handed = seen.handed * handed / 10;
            seen.bounced_again = (seen.private + seen.in_one_piece()) * again / 10;
            seen
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn of_what_was_handed_on_each_byte_is_one_thing(
        seen in seen(), bytes in 1_u64..5000, by_device in 0_u64..5000, direct in any::<bool>(),
    ) {
        let source = EndKind { direct, ..FILE };
        if let Some(copies) = (HandedOn { source, bytes, by_device, came_by_reference: false, seen }).copies() {
            let copied = copies.copied.unwrap_or(0);
            let again = if copies.copied.is_some() { seen.bounced_again } else { 0 };
            prop_assert_eq!(copied - again + copies.by_reference.unwrap_or(0) + copies.unknown, bytes);
            if copies.verdict(bytes) == Verdict::ZeroCopy {
                prop_assert_eq!(seen.private + seen.flattened + seen.linear + seen.elsewhere + seen.doubtful, 0);
                prop_assert_eq!((seen.bytes(), seen.bounced + seen.bounced_handed), (bytes, 0));
                prop_assert!(seen.handed == 0 || direct && by_device >= bytes);
            }
        }
    }

    #[test]
    fn zerocopy_sends_are_zero_copy_only_when_all_were_seen_and_reported_so(
        seen in seen(), bytes in 1_u64..3000, copied in 0_u64..3000, by_reference in 0_u64..3000, filled in any::<bool>(),
    ) {
        let read = filled.then_some(FILE);
        let copies = sent_zerocopy(bytes, read, Reported { copied, by_reference }, &seen);
        prop_assert!(copies.unknown <= bytes);
        if copies.verdict(bytes) == Verdict::ZeroCopy {
            prop_assert!(copied == 0 && by_reference >= bytes && read.is_none());
            prop_assert_eq!((seen.page_cache + seen.user, seen.bounced), (bytes, 0));
            prop_assert_eq!(seen.private + seen.handed + seen.flattened + seen.linear + seen.elsewhere, 0);
        }
        if !filled {
            let is_counted = copies.copied.is_some() && seen.fits(bytes);
            let again = if is_counted { seen.bounced_again + seen.bounced_handed } else { 0 };
            prop_assert_eq!(
                copies.copied.unwrap_or(0) - again + copies.by_reference.unwrap_or(0) + copies.unknown, bytes
            );
        }
    }
}
