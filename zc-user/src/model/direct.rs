//! Copies at ends that are open with `O_DIRECT`.
//!
//! The flag is a wish: the file system may use the page cache all the same, and a driver below it may copy. What
//! counts is what was seen (`zc-ebpf/src/hooks/storage.rs`): requests for user memory that went to a disk and covered
//! the whole call. Of everything else it is not known.

use zc_common::path::Path;

use super::{
    copies::{Copies, EndKind, unknown_leg},
    reason::Reason,
    report::Evidence,
};

/// Bytes with one or two legs, of which at least one is at such an end.
pub(super) struct Direct {
    /// Of rows: `Read`, `Write`, `ReadWrite` or `MmapWrite`.
    pub(super) path: Path,
    pub(super) source: EndKind,
    pub(super) destination: EndKind,
    pub(super) bytes: u64,
    /// Bytes that the device itself moved: of a single leg, or of the way out of memory.
    pub(super) by_device: u64,
    /// The device itself moved everything that went the way into memory.
    pub(super) filled_by_device: bool,
}

/// What became of bytes between user memory and one end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leg {
    Copied,
    ByDevice,
    Unknown(Reason),
}

impl Leg {
    fn new(end: EndKind, by_device: bool) -> Self {
        match unknown_leg(end) {
            _ if end.direct && by_device => Self::ByDevice,
            Some(reason) => Self::Unknown(reason),
            None => Self::Copied,
        }
    }
}

impl Direct {
    pub(super) fn copies(&self) -> Copies {
        let Self { path, source, destination, bytes, by_device, filled_by_device } = *self;
        if bytes == 0 {
            return Copies::none();
        }
        let out = |by_device| Leg::new(destination, by_device);
        match path {
            Path::ReadWrite => {
                let legs = [Leg::new(source, filled_by_device), out(by_device >= bytes)];
                let copied =
                    if legs[0] == Leg::Copied { Reason::ReadIntoMemory } else { Reason::WrittenFromMemory };
                of_legs(bytes, legs, copied)
            }
            Path::MmapWrite => {
                of_legs(bytes, [Leg::ByDevice, out(by_device >= bytes)], Reason::WrittenFromMapping)
            }
            _ => {
                // One leg; part of it may be known.
                let known = by_device.min(bytes);
                let mut copies = Copies::none();
                for (bytes, leg) in [(known, Leg::ByDevice), (bytes - known, Leg::Unknown(Reason::DirectIo))]
                {
                    if bytes > 0 {
                        copies.add(&of_legs(bytes, [leg, leg], Reason::DirectIo));
                    }
                }
                copies
            }
        }
    }
}

/// `copied` is why bytes were, when one leg did and the other not.
fn of_legs(bytes: u64, legs: [Leg; 2], copied: Reason) -> Copies {
    let reasons = legs.iter().filter_map(|leg| match leg {
        Leg::Unknown(reason) => Some(*reason),
        _ => None,
    });
    let copies = legs.iter().filter(|leg| **leg == Leg::Copied).count() as u64;
    match reasons.max() {
        Some(reason) if copies == 0 => Copies::unknown(bytes, reason),
        Some(reason) => Copies {
            copied: Some(bytes * copies),
            by_reference: Some(0),
            unknown: bytes,
            reason,
            ..Copies::none()
        },
        None if copies == 0 => Copies {
            copied: Some(0),
            by_reference: Some(bytes),
            evidence: Evidence::Witnessed,
            reason: Reason::ByDevice,
            ..Copies::none()
        },
        None => Copies {
            copied: Some(bytes.saturating_mul(copies)),
            by_reference: Some(0),
            reason: copied,
            ..Copies::none()
        },
    }
}

#[cfg(test)]
mod tests {
    use zc_common::path::Kind;

    use super::*;
    use crate::model::report::Verdict;

    const DIRECT: EndKind = EndKind { direct: true, ..FILE };
    const FILE: EndKind = EndKind::plain(Kind::File);
    const TCP: EndKind = EndKind::plain(Kind::Tcp);
    const TTY: EndKind = EndKind::plain(Kind::Tty);
    const MEMORY: EndKind = EndKind::plain(Kind::Memory);

    #[test]
    fn copies_of_the_table() {
        use Path::{Read, ReadWrite, Write};
        let table = [
            // path, ends, moved by the device, filled by it; copied, by reference, unknown, verdict
            (Read, DIRECT, MEMORY, 10, true, Some(0), Some(10), 0, Verdict::ZeroCopy),
            (Read, DIRECT, MEMORY, 0, false, None, None, 10, Verdict::Unknown),
            (Read, DIRECT, MEMORY, 4, false, Some(0), Some(4), 6, Verdict::Unknown),
            (Write, MEMORY, DIRECT, 10, false, Some(0), Some(10), 0, Verdict::ZeroCopy),
            (ReadWrite, DIRECT, TCP, 0, true, Some(10), Some(0), 0, Verdict::Copied),
            (ReadWrite, DIRECT, TCP, 0, false, Some(10), Some(0), 10, Verdict::Unknown),
            (ReadWrite, DIRECT, TTY, 0, true, None, None, 10, Verdict::Unknown),
            (ReadWrite, FILE, DIRECT, 10, false, Some(10), Some(0), 0, Verdict::Copied),
            (ReadWrite, FILE, DIRECT, 9, false, Some(10), Some(0), 10, Verdict::Unknown),
            (ReadWrite, DIRECT, DIRECT, 10, true, Some(0), Some(10), 0, Verdict::ZeroCopy),
            (ReadWrite, DIRECT, DIRECT, 10, false, None, None, 10, Verdict::Unknown),
            (ReadWrite, DIRECT, DIRECT, 0, true, None, None, 10, Verdict::Unknown),
        ];
        for (
            path,
            source,
            destination,
            by_device,
            filled_by_device,
            copied,
            by_reference,
            unknown,
            verdict,
        ) in table
        {
            let direct = Direct { path, source, destination, bytes: 10, by_device, filled_by_device };
            let copies = direct.copies();
            let found = (copies.copied, copies.by_reference, copies.unknown, copies.verdict(10));
            assert_eq!(
                found,
                (copied, by_reference, unknown, verdict),
                "{path:?} {by_device} {filled_by_device}"
            );
            assert_eq!(copies.evidence == Evidence::Witnessed, verdict == Verdict::ZeroCopy);
        }
        let nothing = Direct {
            path: Read,
            source: DIRECT,
            destination: MEMORY,
            bytes: 0,
            by_device: 0,
            filled_by_device: true,
        };
        assert_eq!(nothing.copies(), Copies::none());
    }
}
