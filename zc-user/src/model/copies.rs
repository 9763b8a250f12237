//! CPU copies by inference: from the path, the kinds of its ends and known kernel behaviour.
//!
//! What the rules rely on: a read from a file's page cache or from a socket's or pipe's buffers copies
//! each byte to user memory once (`copy_to_user`), a write to them copies each byte once from there
//! (`copy_from_user`). What drivers of terminals and devices do, and whether `O_DIRECT` was honoured, is
//! theirs to decide. What sendfile, splice and `copy_file_range` did has to be seen.

use zc_common::path::{Kind, Path, Tls};

use super::{
    reason::Reason,
    report::{Evidence, Verdict},
    verdict::{Known, verdict},
};

/// What is known about the copies of some payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copies {
    /// Bytes copied by the processor; `None` when of no byte it is known.
    pub copied: Option<u64>,
    /// Bytes handed on by reference; `None` when of no byte it is known.
    pub by_reference: Option<u64>,
    /// Payload of which it is not known, for at least one of its legs.
    pub unknown: u64,
    /// How it is known.
    pub evidence: Evidence,
    /// Why.
    pub reason: Reason,
}

/// One end of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndKind {
    /// What it is.
    pub kind: Kind,
    /// It was open with `O_DIRECT`.
    pub direct: bool,
    /// What TLS in the kernel makes of the bytes on their way through this end.
    pub tls: Tls,
}

impl EndKind {
    /// The flag means something of files and of disks; of a pipe it is another wish (packets).
    pub(super) const fn new(kind: Kind, flagged: bool, tls: Tls) -> Self {
        Self { kind, direct: flagged && matches!(kind, Kind::File | Kind::Device), tls }
    }

    /// An end that is what its kind says, and nothing else.
    pub const fn plain(kind: Kind) -> Self {
        Self { kind, direct: false, tls: Tls::None }
    }
}

/// The copies of `bytes` that took `path` from `source` to `destination`, as far as they can be inferred.
pub fn infer(path: Path, source: EndKind, destination: EndKind, bytes: u64) -> Copies {
    if bytes == 0 {
        return Copies::none();
    }
    match path {
        Path::Read => Copies::of_legs(bytes, &[unknown_leg(source)], Reason::ReadIntoMemory),
        Path::Write => Copies::of_legs(bytes, &[unknown_leg(destination)], Reason::WrittenFromMemory),
        Path::MmapWrite => Copies::of_legs(bytes, &[unknown_leg(destination)], Reason::WrittenFromMapping),
        Path::ReadWrite => {
            let legs = [unknown_leg(source), unknown_leg(destination)];
            Copies::of_legs(bytes, &legs, Reason::ThroughMemory)
        }
        Path::Sendfile => Copies::unknown(bytes, Reason::Sendfile),
        Path::CopyFileRange => Copies::unknown(bytes, Reason::CopyFileRange),
        Path::Vmsplice if destination.kind == Kind::Memory => {
            Copies::of_legs(bytes, &[unknown_leg(source)], Reason::ReadIntoMemory)
        }
        Path::Splice | Path::Tee | Path::Vmsplice => spliced(source, destination, bytes),
        // What the kernel says of the send is not known here; what was read into the memory was copied there.
        Path::SendZerocopy => Copies::unknown(bytes, Reason::ZerocopyUnreported),
        // The row says what the kernel did, see [`received_zerocopy`].
        Path::RecvZerocopy => Copies::unknown(bytes, Reason::EndUnknown),
        // What page faults do is seen, see [`super::pages`]. Rows have the legs that the last two are made of, see
        // [`super::direct`].
        Path::Mmap | Path::DirectRead | Path::DirectWrite | Path::Thread => Copies::none(),
    }
}

/// What became of bytes that were spliced.
///
/// Into a regular file they are copied (`iter_file_splice_write`, which writes as write(2) does). From memory, and from
/// one pipe to another, pages are handed on in any case (`iter_to_pipe`, `splice_pipe_to_pipe`, `link_pipe`); how they
/// came from elsewhere, and whether others could take them, has to be seen.
fn spliced(source: EndKind, destination: EndKind, bytes: u64) -> Copies {
    if source.kind == Kind::Unknown || destination.kind == Kind::Unknown {
        return Copies::unknown(bytes, Reason::EndUnknown);
    }
    if destination.kind != Kind::File || destination.direct {
        let reason = if destination.direct { Reason::DirectIo } else { Reason::Splice };
        return Copies::unknown(bytes, reason);
    }
    let came = if matches!(source.kind, Kind::Pipe | Kind::Memory) { None } else { Some(Reason::Splice) };
    Copies {
        copied: Some(bytes),
        by_reference: Some(0),
        unknown: if came.is_some() { bytes } else { 0 },
        reason: came.unwrap_or(Reason::RegularFile),
        ..Copies::none()
    }
}

/// The copies of `bytes` that a clone shares: none, by the contract of `FICLONE`, which says so to the program.
pub(super) const fn cloned(bytes: u64) -> Copies {
    if bytes == 0 {
        return Copies::none();
    }
    Copies {
        copied: Some(0),
        by_reference: Some(bytes),
        evidence: Evidence::Reported,
        reason: Reason::Cloned,
        ..Copies::none()
    }
}

/// The copies of what was received with `TCP_ZEROCOPY_RECEIVE`, by what the kernel says to the program.
pub(super) const fn received_zerocopy(received: Reported) -> Copies {
    let Reported { copied, by_reference } = received;
    let reason = match (by_reference, copied) {
        (0, 0) => return Copies::none(),
        (_, 0) => Reason::ReceivedPages,
        _ => Reason::ReadIntoMemory,
    };
    Copies {
        copied: Some(copied),
        by_reference: Some(by_reference),
        evidence: Evidence::Reported,
        reason,
        ..Copies::none()
    }
}

/// What the kernel has reported on sends with `MSG_ZEROCOPY`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reported {
    /// Bytes that it says it copied.
    pub copied: u64,
    /// Bytes that it says it did not copy.
    pub by_reference: u64,
}

/// Why it is not known whether the leg between this end and user memory copied; `None` when it did, once.
pub(super) fn unknown_leg(end: EndKind) -> Option<Reason> {
    match end.kind {
        _ if end.direct => Some(Reason::DirectIo),
        _ if end.tls == Tls::Device => Some(Reason::TlsLeftToDevice),
        // Memory: that of another process.
        Kind::File | Kind::Tcp | Kind::Udp | Kind::Unix | Kind::Pipe | Kind::Memory => None,
        Kind::Tty | Kind::Device | Kind::Other => Some(Reason::DriverDecides),
        Kind::Unknown => Some(Reason::EndUnknown),
    }
}

impl Copies {
    /// Of no payload.
    pub const fn none() -> Self {
        Self {
            copied: None,
            by_reference: None,
            unknown: 0,
            evidence: Evidence::Inferred,
            reason: Reason::NoBytes,
        }
    }

    pub(super) const fn unknown(bytes: u64, reason: Reason) -> Self {
        Self { unknown: bytes, reason, ..Self::none() }
    }

    fn of_legs(bytes: u64, legs: &[Option<Reason>], copied: Reason) -> Self {
        let known = legs.iter().filter(|leg| leg.is_none()).count() as u64;
        match legs.iter().flatten().max() {
            Some(&reason) if known == 0 => Self::unknown(bytes, reason),
            worst => Self {
                copied: Some(bytes.saturating_mul(known)),
                by_reference: Some(0),
                unknown: if worst.is_some() { bytes } else { 0 },
                reason: worst.copied().unwrap_or(copied),
                ..Self::none()
            },
        }
    }

    /// Bytes that were copied besides the payload: looked at in a socket, and left there.
    pub fn add_peeked(&mut self, bytes: u64) {
        if bytes == 0 {
            return;
        }
        self.copied = Some(self.copied.unwrap_or(0) + bytes);
        self.by_reference = self.by_reference.or(Some(0));
        self.reason = self.reason.max(Reason::ReadIntoMemory);
    }

    /// Both together: known amounts add up, the weaker evidence and the stronger reason stay.
    pub fn add(&mut self, other: &Self) {
        // Of no payload nothing has to be known.
        if other.reason == Reason::NoBytes {
            return;
        }
        if self.reason == Reason::NoBytes {
            *self = *other;
            return;
        }
        self.copied = sum_of_known(self.copied, other.copied);
        self.by_reference = sum_of_known(self.by_reference, other.by_reference);
        self.unknown += other.unknown;
        self.evidence = self.evidence.max(other.evidence);
        self.reason = self.reason.max(other.reason);
    }

    /// The judgement on `bytes` of payload.
    pub fn verdict(&self, bytes: u64) -> Verdict {
        let Self { copied, by_reference, unknown, evidence, reason: _ } = *self;
        verdict(&Known { bytes, copied, by_reference, unknown, evidence })
    }
}

/// The sum of what is known; `None` when neither is.
pub fn sum_of_known(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a + b),
        (known, None) | (None, known) => known,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn end(kind: Kind) -> EndKind {
        EndKind::plain(kind)
    }
    const FILE: EndKind = end(Kind::File);
    const MEMORY: EndKind = end(Kind::Memory);
    const DIRECT: EndKind = EndKind { direct: true, ..FILE };

    #[test]
    fn copies_of_the_table() {
        use Path::{CopyFileRange, MmapWrite, Read, ReadWrite, Sendfile, Splice, Tee, Vmsplice, Write};
        let (tcp, tty, gone, pipe) = (end(Kind::Tcp), end(Kind::Tty), end(Kind::Unknown), end(Kind::Pipe));
        let table = [
            (Read, FILE, MEMORY, Some(7), 0, Reason::ReadIntoMemory),
            (Read, end(Kind::Unix), MEMORY, Some(7), 0, Reason::ReadIntoMemory),
            (Read, DIRECT, MEMORY, None, 7, Reason::DirectIo),
            (Read, gone, MEMORY, None, 7, Reason::EndUnknown),
            (Read, MEMORY, MEMORY, Some(7), 0, Reason::ReadIntoMemory),
            (Write, MEMORY, MEMORY, Some(7), 0, Reason::WrittenFromMemory),
            (Write, MEMORY, end(Kind::Pipe), Some(7), 0, Reason::WrittenFromMemory),
            (Write, MEMORY, tty, None, 7, Reason::DriverDecides),
            (Write, MEMORY, end(Kind::Device), None, 7, Reason::DriverDecides),
            (MmapWrite, FILE, tcp, Some(7), 0, Reason::WrittenFromMapping),
            (MmapWrite, FILE, DIRECT, None, 7, Reason::DirectIo),
            (MmapWrite, FILE, tty, None, 7, Reason::DriverDecides),
            (ReadWrite, FILE, tcp, Some(14), 0, Reason::ThroughMemory),
            (ReadWrite, FILE, tty, Some(7), 7, Reason::DriverDecides),
            (ReadWrite, tty, end(Kind::Udp), Some(7), 7, Reason::DriverDecides),
            (ReadWrite, DIRECT, DIRECT, None, 7, Reason::DirectIo),
            (Sendfile, FILE, tcp, None, 7, Reason::Sendfile),
            (Sendfile, FILE, FILE, None, 7, Reason::Sendfile),
            (CopyFileRange, FILE, FILE, None, 7, Reason::CopyFileRange),
            (Splice, FILE, tcp, None, 7, Reason::Splice),
            (Splice, FILE, pipe, None, 7, Reason::Splice),
            (Splice, pipe, pipe, None, 7, Reason::Splice),
            (Splice, tcp, FILE, Some(7), 7, Reason::Splice),
            (Splice, pipe, FILE, Some(7), 0, Reason::RegularFile),
            (Splice, pipe, DIRECT, None, 7, Reason::DirectIo),
            (Splice, DIRECT, tcp, None, 7, Reason::Splice),
            (Splice, gone, FILE, None, 7, Reason::EndUnknown),
            (Tee, pipe, pipe, None, 7, Reason::Splice),
            (Tee, pipe, FILE, Some(7), 0, Reason::RegularFile),
            (Vmsplice, MEMORY, pipe, None, 7, Reason::Splice),
            (Vmsplice, MEMORY, tcp, None, 7, Reason::Splice),
            (Vmsplice, MEMORY, FILE, Some(7), 0, Reason::RegularFile),
            (Vmsplice, pipe, MEMORY, Some(7), 0, Reason::ReadIntoMemory),
        ];
        for (path, source, destination, copied, unknown, reason) in table {
            let copies = infer(path, source, destination, 7);
            assert_eq!((copies.copied, copies.unknown, copies.reason), (copied, unknown, reason), "{path:?}");
            assert_eq!(copies.by_reference, copied.map(|_| 0));
            assert_eq!(copies.evidence, Evidence::Inferred);
            assert_ne!(copies.verdict(7), Verdict::ZeroCopy);
            assert_eq!(copies.verdict(7) == Verdict::Copied, unknown == 0);
        }
    }

    #[test]
    fn what_was_received_by_zerocopy_is_mapped_or_copied_as_the_kernel_says() {
        for (copied, by_reference, reason, verdict) in [
            (0, 10, Reason::ReceivedPages, Verdict::Unknown),
            (10, 0, Reason::ReadIntoMemory, Verdict::Copied),
            (4, 6, Reason::ReadIntoMemory, Verdict::Unknown),
        ] {
            let copies = received_zerocopy(Reported { copied, by_reference });
            assert_eq!((copies.copied, copies.by_reference), (Some(copied), Some(by_reference)));
            assert_eq!((copies.unknown, copies.evidence), (0, Evidence::Reported));
            assert_eq!((copies.reason, copies.verdict(10)), (reason, verdict), "{copied} {by_reference}");
        }
        assert_eq!(received_zerocopy(Reported::default()), Copies::none());
    }

    #[test]
    fn bytes_that_were_looked_at_are_copied_beside_the_payload() {
        let mut copies = infer(Path::Read, end(Kind::Tcp), MEMORY, 7);
        copies.add_peeked(5);
        assert_eq!((copies.copied, copies.unknown, copies.verdict(7)), (Some(12), 0, Verdict::Copied));
        let mut copies = Copies::none();
        copies.add_peeked(5);
        assert_eq!((copies.copied, copies.by_reference, copies.unknown), (Some(5), Some(0), 0));
        assert_eq!((copies.reason, copies.verdict(0)), (Reason::ReadIntoMemory, Verdict::Unknown));
    }

    #[test]
    fn no_bytes_are_neither_copied_nor_unknown() {
        for path in Path::ALL {
            assert_eq!(infer(path, FILE, DIRECT, 0), Copies::none());
        }
        assert_eq!(Copies::none().verdict(0), Verdict::Unknown);
    }

    #[test]
    fn buffered_and_direct_bytes_of_one_row_add_up_to_a_row_that_is_not_known() {
        let mut copies = infer(Path::Read, FILE, MEMORY, 10);
        copies.add(&infer(Path::Read, DIRECT, MEMORY, 5));
        assert_eq!((copies.copied, copies.unknown, copies.reason), (Some(10), 5, Reason::DirectIo));
        assert_eq!(copies.verdict(15), Verdict::Unknown);
    }
}
