//! What page faults on mapped files did, from the page table before and after them.

use super::{copies::Copies, reason::Reason, report::Evidence};

/// Pages of one file in one direction.
pub(super) struct Pages {
    /// Payload.
    pub(super) bytes: u64,
    /// Bytes of pages that were copied when they were written to.
    pub(super) copied: u64,
    /// Bytes of pages of the page cache that were mapped.
    pub(super) by_reference: u64,
    /// The page table was seen.
    pub(super) seen: bool,
}

impl Pages {
    /// Pages of the file became accessible.
    pub(super) fn mapped(&self) -> Copies {
        let Self { bytes, copied, by_reference, seen } = *self;
        if bytes == 0 && copied == 0 {
            return Copies::none();
        }
        if !seen {
            let copied = (copied != 0).then_some(copied);
            let by_reference = copied.map(|_| 0);
            return Copies {
                copied,
                by_reference,
                unknown: bytes,
                reason: Reason::PagesUnseen,
                ..Copies::none()
            };
        }
        Copies {
            copied: Some(copied),
            by_reference: Some(by_reference),
            unknown: 0,
            evidence: Evidence::Witnessed,
            reason: if copied == 0 { Reason::Mapped } else { Reason::CopyOnWrite },
        }
    }

    /// The program was allowed to write to pages of the file. The kernel copies nothing; what the program stores is its
    /// own affair.
    pub(super) fn written(&self) -> Copies {
        if self.bytes == 0 {
            return Copies::none();
        }
        Copies {
            copied: Some(0),
            by_reference: Some(self.bytes),
            unknown: 0,
            evidence: Evidence::Inferred,
            reason: Reason::MadeWritable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::report::Verdict;

    const SEEN: Pages = Pages { bytes: 12_288, copied: 0, by_reference: 12_288, seen: true };

    #[test]
    fn mapped_pages_are_zero_copy_as_long_as_none_was_copied() {
        assert_eq!(SEEN.mapped().verdict(12_288), Verdict::ZeroCopy);
        // One page copied instead of mapped, one copied after it was mapped.
        let mixed = Pages { copied: 8192, by_reference: 8192, ..SEEN }.mapped();
        assert_eq!((mixed.verdict(12_288), mixed.reason), (Verdict::Mixed, Reason::CopyOnWrite));
        let copied = Pages { copied: 12_288, by_reference: 0, ..SEEN }.mapped();
        assert_eq!(copied.verdict(12_288), Verdict::Copied);
    }

    #[test]
    fn pages_that_nobody_saw_are_unknown() {
        let unseen = Pages { by_reference: 0, seen: false, ..SEEN }.mapped();
        assert_eq!((unseen.unknown, unseen.verdict(12_288)), (12_288, Verdict::Unknown));
        assert_eq!((unseen.copied, unseen.by_reference), (None, None));
    }

    #[test]
    fn writing_through_a_mapping_is_never_witnessed() {
        let written = SEEN.written();
        assert_eq!((written.copied, written.by_reference), (Some(0), Some(12_288)));
        assert_eq!(written.verdict(12_288), Verdict::Unknown);
        assert_eq!(Pages { bytes: 0, ..SEEN }.written(), Copies::none());
    }
}
