//! One function over all evidence of a row: what became of its bytes.
//!
//! Each kind of evidence has its own rule, in a file of its own. Here is said which of them a row falls under, and so what
//! goes before what: reports and what was seen of a row before what can be inferred from its path and its ends.

use zc_common::path::{Kind, Path, Tls};

use super::{
    copies::{Copies, EndKind, Reported, cloned, infer, received_zerocopy},
    direct::Direct,
    inside::Inside,
    pages::Pages,
    reason::Reason,
    report::Evidence,
    seen::{HandedOn, Seen, copied_on, leaves_by, sent_zerocopy},
    tls::Encrypted,
};

/// All that is known of the bytes of a row.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each was found out by itself")]
pub(super) struct Facts {
    pub(super) path: Path,
    pub(super) source: EndKind,
    pub(super) destination: EndKind,
    /// A read filled the memory that was written from.
    pub(super) is_pair: bool,
    /// What the row's `SPECIAL` flag says, which is something else for each path: see `zc_common::row`.
    pub(super) is_special: bool,
    /// The source's bytes came by requests in a ring.
    pub(super) source_by_ring: bool,
    /// Payload.
    pub(super) bytes: u64,
    /// What the kernel side counted as copied: what that is, depends on the path.
    pub(super) copied: u64,
    /// What it counted as handed on, or as moved by a device.
    pub(super) by_reference: u64,
    /// All bytes of the leg that a pair took from were put into memory, or into a pipe, without a copy.
    pub(super) filled_by_device: bool,
    /// What was seen of them when they left.
    pub(super) seen: Seen,
    /// Of reads from sockets: not every copy was seen.
    pub(super) copy_unseen: bool,
}

impl Facts {
    /// What became of the bytes.
    pub(super) fn copies(&self) -> Copies {
        let reported = Reported { copied: self.copied, by_reference: self.by_reference };
        match self.path {
            Path::Mmap => self.pages(),
            Path::CopyFileRange if self.is_special => cloned(self.bytes),
            Path::RecvZerocopy => received_zerocopy(reported),
            Path::SendZerocopy => {
                // What a device put into memory was not copied there.
                let is_copied = self.is_pair && !(self.source.direct && self.filled_by_device);
                sent_zerocopy(self.bytes, is_copied.then_some(self.source), reported, &self.seen)
            }
            _ if self.has_legs() => self.through_memory(),
            _ => self.handed_on(),
        }
    }

    fn pages(&self) -> Copies {
        let Self { bytes, copied, by_reference, is_special, .. } = *self;
        let pages = Pages { bytes, copied, by_reference, seen: !is_special };
        if self.source.kind == Kind::Memory { pages.written() } else { pages.mapped() }
    }

    /// Of bytes that do not go through user memory. What was seen of them when they left, or within the kernel, goes before
    /// what is inferred.
    fn handed_on(&self) -> Copies {
        let Self { path, source, destination, bytes, seen, .. } = *self;
        let (by_device, came_by_reference) = (self.by_reference, self.filled_by_device);
        if source.tls != Tls::None || destination.tls != Tls::None {
            return Encrypted { path, source, destination, bytes, by_device, came_by_reference, seen }
                .copies();
        }
        let leaving = HandedOn { source, bytes, by_device, came_by_reference, seen };
        let inside = Inside {
            path,
            source,
            destination,
            bytes,
            copied: self.copied,
            by_reference: self.by_reference,
            came_by_reference,
        };
        leaves_by(destination)
            .then(|| leaving.copies())
            .flatten()
            .or_else(|| inside.copies())
            .unwrap_or_else(|| infer(path, source, destination, bytes))
    }

    /// Of bytes that calls copied to user memory, or from there, if no device did it.
    fn through_memory(&self) -> Copies {
        let Self { path, source, destination, bytes, by_reference, filled_by_device, .. } = *self;
        let mut copies = if source.direct || destination.direct {
            Direct { path, source, destination, bytes, by_device: by_reference, filled_by_device }.copies()
        } else {
            infer(path, source, destination, bytes)
        };
        if path == Path::Read {
            copies.add_peeked(self.copied);
            if self.is_received() && !self.copy_unseen && copies.unknown == 0 {
                copies.evidence = Evidence::Witnessed;
            }
        }
        if leaves_by(destination) {
            let is_leg = matches!(path, Path::Write | Path::MmapWrite);
            copied_on(&mut copies, bytes, &self.seen, is_leg);
        }
        if copies.copied.is_some() && (source.tls == Tls::Software || destination.tls == Tls::Software) {
            copies.reason = copies.reason.max(Reason::SoftwareTls);
        }
        if bytes > 0 && self.is_special {
            copies.reason = copies.reason.max(Reason::ZerocopyNotSet);
        }
        copies
    }

    /// Whether bytes of this row were copied out of the buffers of a socket by calls.
    const fn is_received(&self) -> bool {
        // What is decrypted may be copied before that, or elsewhere.
        let is_plain = matches!(self.source.tls, Tls::None);
        is_plain && matches!(self.source.kind, Kind::Tcp | Kind::Udp | Kind::Unix) && !self.source_by_ring
    }

    /// Whether bytes of this row go through user memory.
    const fn has_legs(&self) -> bool {
        matches!(self.path, Path::Read | Path::Write | Path::ReadWrite | Path::MmapWrite)
    }
}

#[cfg(test)]
mod tests;
