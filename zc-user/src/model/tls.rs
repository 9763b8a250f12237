//! Copies of what the kernel hands on to a connection that it encrypts, or from one that it decrypts (`TCP_ULP` `tls`).
//!
//! What the rules rely on (`net/tls/tls_sw.c`, Linux 6.1 to 6.18): of pages that are handed on to such a connection, each record is
//! encrypted into pages of the kernel's own; what write(2) gives it is encrypted from user memory into such pages, or copied to them and
//! encrypted there. What is received is decrypted into user memory, or into pages of the kernel's own, from where it is spliced or
//! copied once more. So each byte comes to other memory once at least, by the processor.

use zc_common::path::{Kind, Path, Tls};

use super::{
    copies::{Copies, EndKind, infer},
    reason::Reason,
    report::Evidence,
    seen::{HandedOn, Seen, leaves_by},
};

/// Bytes of a call that does not go through user memory, of which one end at least has TLS.
pub(super) struct Encrypted {
    pub(super) path: Path,
    pub(super) source: EndKind,
    pub(super) destination: EndKind,
    pub(super) bytes: u64,
    /// As in [`HandedOn`].
    pub(super) by_device: u64,
    /// As in [`HandedOn`].
    pub(super) came_by_reference: bool,
    /// As in [`HandedOn`].
    pub(super) seen: Seen,
}

impl Encrypted {
    pub(super) fn copies(&self) -> Copies {
        let Self { bytes, source, destination, .. } = *self;
        if bytes == 0 {
            return Copies::none();
        }
        let ends = [source.tls, destination.tls];
        if ends.contains(&Tls::Device) {
            return Copies::unknown(bytes, Reason::TlsLeftToDevice);
        }
        let times = ends.iter().filter(|tls| **tls == Tls::Software).count() as u64;
        let rest = if destination.tls == Tls::None { self.decrypted() } else { self.came() };
        Copies {
            copied: Some(rest.copied.unwrap_or(0) + times * bytes),
            by_reference: Some(0),
            unknown: rest.unknown,
            evidence: Evidence::Inferred,
            reason: rest.reason.max(Reason::SoftwareTls),
        }
    }

    /// What becomes of bytes that were decrypted into pages of the kernel's own: they are in them as in a pipe.
    fn decrypted(&self) -> Copies {
        let Self { path, destination, bytes, seen, .. } = *self;
        let source = EndKind::plain(Kind::Pipe);
        if !leaves_by(destination) {
            // Into a pipe, pages are handed on in any case.
            let stays = destination.kind == Kind::Pipe;
            return if stays { Copies::none() } else { infer(path, source, destination, bytes) };
        }
        let handed_on = HandedOn { source, bytes, by_device: 0, came_by_reference: true, seen };
        handed_on.copies().unwrap_or_else(|| infer(path, source, destination, bytes))
    }

    /// How bytes came to where they were encrypted from. What a file system hands on are pages of the page cache, unless the file
    /// is open with `O_DIRECT`.
    fn came(&self) -> Copies {
        let Self { source, bytes, by_device, came_by_reference, .. } = *self;
        let unknown = match source.kind {
            _ if source.tls == Tls::Software => None,
            Kind::File | Kind::Device if source.direct && by_device < bytes => Some(Reason::DirectIo),
            Kind::Tcp | Kind::Unix if !came_by_reference => Some(Reason::KernelPages),
            Kind::File | Kind::Device | Kind::Tcp | Kind::Unix | Kind::Pipe | Kind::Memory => None,
            Kind::Udp | Kind::Tty | Kind::Other => Some(Reason::KernelPages),
            Kind::Unknown => Some(Reason::EndUnknown),
        };
        unknown.map_or_else(Copies::none, |reason| Copies::unknown(bytes, reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::report::Verdict;

    const TLS: EndKind = EndKind { tls: Tls::Software, ..EndKind::plain(Kind::Tcp) };
    const OFFLOADED: EndKind = EndKind { tls: Tls::Device, ..TLS };
    const FILE: EndKind = EndKind::plain(Kind::File);
    const DIRECT: EndKind = EndKind { direct: true, ..FILE };
    const TCP: EndKind = EndKind::plain(Kind::Tcp);
    const PIPE: EndKind = EndKind::plain(Kind::Pipe);
    const MEMORY: EndKind = EndKind::plain(Kind::Memory);

    #[test]
    fn copies_of_the_table() {
        use Path::{Sendfile, Splice, Vmsplice};
        let seen = Seen { handed: 10, ..Seen::default() };
        let flat = Seen { flattened: 10, ..Seen::default() };
        let table = [
            // path, ends, by the device, came by reference, seen; copied, unknown, verdict
            (Sendfile, FILE, TLS, 0, false, Seen::default(), Some(10), 0, Verdict::Copied),
            (Sendfile, DIRECT, TLS, 10, false, Seen::default(), Some(10), 0, Verdict::Copied),
            (Sendfile, DIRECT, TLS, 9, false, Seen::default(), Some(10), 10, Verdict::Unknown),
            (Sendfile, FILE, OFFLOADED, 0, false, Seen::default(), None, 10, Verdict::Unknown),
            (Splice, FILE, TLS, 0, false, Seen::default(), Some(10), 0, Verdict::Copied),
            (Splice, PIPE, TLS, 0, false, Seen::default(), Some(10), 0, Verdict::Copied),
            (Vmsplice, MEMORY, TLS, 0, false, Seen::default(), Some(10), 0, Verdict::Copied),
            (Splice, TCP, TLS, 0, true, Seen::default(), Some(10), 0, Verdict::Copied),
            (Splice, TCP, TLS, 0, false, Seen::default(), Some(10), 10, Verdict::Unknown),
            (Splice, TLS, TLS, 0, false, Seen::default(), Some(20), 0, Verdict::Copied),
            (Splice, TLS, PIPE, 0, false, Seen::default(), Some(10), 0, Verdict::Copied),
            (Splice, TLS, FILE, 0, false, Seen::default(), Some(20), 0, Verdict::Copied),
            (Splice, TLS, TCP, 0, false, seen, Some(10), 0, Verdict::Copied),
            (Splice, TLS, TCP, 0, false, flat, Some(20), 0, Verdict::Copied),
            (Splice, TLS, TCP, 0, false, Seen::default(), Some(10), 10, Verdict::Unknown),
            (Splice, OFFLOADED, FILE, 0, false, Seen::default(), None, 10, Verdict::Unknown),
        ];
        for (path, source, destination, by_device, came_by_reference, seen, copied, unknown, verdict) in table
        {
            let of = |bytes| {
                Encrypted { path, source, destination, bytes, by_device, came_by_reference, seen }.copies()
            };
            let copies = of(10);
            let said = (copies.copied, copies.unknown, copies.verdict(10));
            assert_eq!(said, (copied, unknown, verdict), "{path:?} {source:?} to {destination:?}");
            assert_ne!(copies.by_reference, Some(10), "nothing is by reference");
            assert_eq!(of(0), Copies::none());
        }
    }
}
