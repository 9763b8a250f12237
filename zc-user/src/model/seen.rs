//! What was seen of bytes when a device was given them to send, and what follows from it.
//!
//! What the rules rely on: bytes that are in a page of a file, or of a program, when a device is given them, nobody has copied since
//! they left there; `sendmsg` without `MSG_SPLICE_PAGES` or `MSG_ZEROCOPY` copies into pages of the kernel; and since Linux
//! 5.18 nothing sends payload in the linear part of a buffer unless it was flattened after that.

use serde::{Deserialize, Serialize};
use zc_common::{
    path::{Kind, Tls},
    transmission::{Class, Witnessed},
};

use super::{
    copies::{Copies, EndKind, Reported, unknown_leg},
    reason::Reason,
    report::Evidence,
};

/// Bytes of a row by the memory that they were in when a device was given them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Seen {
    /// Pages of files.
    pub page_cache: u64,
    /// Pages of programs.
    pub user: u64,
    /// Pages of the kernel that the send had copied to.
    pub private: u64,
    /// Pages of the kernel that were handed to the socket.
    pub handed: u64,
    /// In one piece, for a device without scatter-gather.
    pub flattened: u64,
    /// In one piece, though the device has scatter-gather.
    pub linear: u64,
    /// On a device of which it is not known what it does with them, or in memory of another sort.
    pub elsewhere: u64,
    /// Of all these: while packets of the device were captured.
    pub tapped: u64,
    /// Bytes of these that another device was given in one piece afterwards, or that may have bounced.
    pub doubtful: u64,
    /// Of the pages of files and programs: bytes that a driver copied to where its device reaches them (bounce buffers).
    pub bounced: u64,
    /// The same of pages of the kernel that were handed to the socket.
    pub bounced_handed: u64,
    /// The same of all that had been copied before.
    pub bounced_again: u64,
}

impl From<Witnessed> for Seen {
    fn from(witnessed: Witnessed) -> Self {
        let of = |class: Class| witnessed.bytes[class as usize];
        let bounced = |class: Class| witnessed.bounced[class as usize];
        Self {
            page_cache: of(Class::PageCache),
            user: of(Class::User),
            private: of(Class::Private),
            handed: of(Class::Handed),
            flattened: of(Class::Flattened),
            linear: of(Class::Linear),
            elsewhere: of(Class::Elsewhere),
            tapped: witnessed.tapped,
            doubtful: witnessed.doubtful,
            bounced: bounced(Class::PageCache) + bounced(Class::User),
            bounced_handed: bounced(Class::Handed),
            bounced_again: bounced(Class::Private) + bounced(Class::Flattened) + bounced(Class::Linear),
        }
    }
}

impl Seen {
    /// Adds what was seen of another row.
    pub fn add(&mut self, other: &Self) {
        let Self { page_cache, user, private, handed, flattened, linear, elsewhere, .. } = *other;
        let Self { tapped, doubtful, bounced, bounced_handed, bounced_again, .. } = *other;
        self.page_cache += page_cache;
        self.user += user;
        self.private += private;
        self.handed += handed;
        self.flattened += flattened;
        self.linear += linear;
        self.elsewhere += elsewhere;
        self.tapped += tapped;
        self.doubtful += doubtful;
        self.bounced += bounced;
        self.bounced_handed += bounced_handed;
        self.bounced_again += bounced_again;
    }

    /// How many bytes were seen.
    pub const fn bytes(&self) -> u64 {
        self.page_cache
            + self.user
            + self.private
            + self.handed
            + self.flattened
            + self.linear
            + self.elsewhere
    }

    /// Bytes of which the processor has made one piece.
    const fn in_one_piece(&self) -> u64 {
        self.flattened + self.linear
    }

    /// Why they were made one piece.
    const fn why_in_one_piece(&self) -> Reason {
        if self.flattened > 0 { Reason::NoScatterGather } else { Reason::Flattened }
    }

    /// How many bytes bounced.
    const fn all_bounced(&self) -> u64 {
        self.bounced + self.bounced_handed + self.bounced_again
    }

    /// Whether it is about `bytes` bytes, or some of them. What is not would not be of this row.
    const fn fits(&self, bytes: u64) -> bool {
        self.bytes() <= bytes
    }
}

/// What is known of bytes that were handed to a connection by a call that does not go through user memory.
pub(super) struct HandedOn {
    pub(super) source: EndKind,
    pub(super) bytes: u64,
    /// Bytes that a device itself has put into pages of the kernel's own.
    pub(super) by_device: u64,
    /// All bytes that came from the source into a pipe came in the pages that they were received in.
    pub(super) came_by_reference: bool,
    pub(super) seen: Seen,
}

impl HandedOn {
    /// Their copies. `None` when nothing was seen of them.
    pub(super) fn copies(&self) -> Option<Copies> {
        let Self { source, bytes, by_device, came_by_reference, seen } = *self;
        if seen.bytes() == 0 || !seen.fits(bytes) {
            return None;
        }
        let is_known = match source.kind {
            // What is in a pipe is in pages of its own, if it is not in others'.
            Kind::Pipe => true,
            Kind::Tcp | Kind::Unix => came_by_reference,
            // Into such pages a device writes when the file is open with O_DIRECT, and then all are such pages.
            _ => source.direct && by_device >= bytes,
        };
        let (filled, bounced_filled) = if is_known { (seen.handed, seen.bounced_handed) } else { (0, 0) };
        let all = seen.page_cache + seen.user + filled;
        let bounced = (seen.bounced + bounced_filled).min(all);
        let copied = seen.private + seen.in_one_piece() + bounced;
        let named = all - bounced;
        let doubtful = seen.doubtful.min(named);
        let by_reference = named - doubtful;
        let unknown = bytes - copied - by_reference;
        let mut reason = Reason::HandedOn;
        for (is_so, why) in [
            (seen.private > 0, Reason::CopiedIntoSocket),
            (seen.in_one_piece() > 0, seen.why_in_one_piece()),
            (seen.all_bounced() > 0, Reason::BounceBuffer),
            (seen.handed > filled, Reason::KernelPages),
            (seen.elsewhere + doubtful > 0, Reason::OtherDevice),
            (bytes > seen.bytes(), Reason::NotSeenLeaving),
        ] {
            if is_so {
                reason = reason.max(why);
            }
        }
        let is_known = copied + by_reference > 0;
        Some(Copies {
            copied: is_known.then_some(copied + seen.bounced_again),
            by_reference: is_known.then_some(by_reference),
            unknown,
            evidence: if is_known { Evidence::Witnessed } else { Evidence::Inferred },
            reason,
        })
    }
}

/// Adds to the copies of bytes that were copied to a connection what became of them there: `copies` are those of the calls.
/// `is_leg` when nothing else was copied or is unknown.
pub(super) fn copied_on(copies: &mut Copies, bytes: u64, seen: &Seen, is_leg: bool) {
    if seen.bytes() == 0 || !seen.fits(bytes) || copies.copied.is_none() {
        return;
    }
    let (again, bounced) = (seen.in_one_piece(), seen.all_bounced());
    copies.copied = copies.copied.map(|copied| copied + again + bounced);
    for (is_so, why) in [(again > 0, seen.why_in_one_piece()), (bounced > 0, Reason::BounceBuffer)] {
        if is_so {
            copies.reason = copies.reason.max(why);
        }
    }
    // What is in the kernel's memory when it leaves, was copied there by the call.
    if is_leg && seen.private + seen.handed + again == bytes {
        copies.evidence = Evidence::Witnessed;
    }
}

/// The copies of `bytes` that were sent with `MSG_ZEROCOPY` from memory that `read` had filled, if anything had.
///
/// Neither what the kernel reports nor what was seen is enough: it reports bytes as not copied which a device without
/// scatter-gather was given in one piece, or its driver has copied, and it copies them for who receives or captures them after a
/// device has had them.
pub(super) fn sent_zerocopy(bytes: u64, read: Option<EndKind>, reported: Reported, seen: &Seen) -> Copies {
    if bytes == 0 {
        return Copies::none();
    }
    let seen = if seen.fits(bytes) { *seen } else { Seen::default() };
    let said_copied = reported.copied.min(bytes);
    let said_not = reported.by_reference.min(bytes - said_copied);
    let unreported = bytes - said_copied - said_not;
    let bounced = seen.bounced.min(seen.page_cache + seen.user);
    let seen_copied = seen.private + seen.handed + seen.in_one_piece() + bounced;
    let seen_not = (seen.page_cache + seen.user - bounced).saturating_sub(seen.doubtful);
    // Which bytes the report was about is not known, so those that only one of both has may be the same.
    let copied = said_copied.max(seen_copied);
    let either = (said_copied + seen_copied).min(bytes);
    // Both have to say so.
    let by_reference =
        (bytes - either).min(said_not).min(if seen.bytes() == 0 { said_not } else { seen_not });
    let unknown = bytes - copied - by_reference;
    let mut copies = Copies::unknown(bytes, Reason::ZerocopyUnreported);
    if copied + by_reference > 0 {
        let is_seen = if by_reference > 0 { seen_not >= by_reference } else { seen_copied >= copied };
        copies.copied = Some(copied + seen.bounced_handed + seen.bounced_again);
        copies.by_reference = Some(by_reference);
        copies.unknown = unknown;
        copies.evidence = if is_seen { Evidence::Witnessed } else { Evidence::Reported };
        copies.reason = match (seen.in_one_piece() > 0, said_copied > 0) {
            _ if unknown > 0 && unreported > 0 => Reason::ZerocopyUnreported,
            _ if unknown > 0 => Reason::NotSeenLeaving,
            _ if by_reference > 0 && !is_seen => Reason::ZerocopyReported,
            _ if seen.all_bounced() > 0 => Reason::BounceBuffer,
            (true, _) if said_not > 0 => Reason::ZerocopyFalselyReported,
            (true, _) => seen.why_in_one_piece(),
            (false, true) if seen.tapped > 0 => Reason::Captured,
            (false, true) => Reason::ZerocopyCopied,
            (false, false) if seen.private + seen.handed > 0 => Reason::CopiedIntoSocket,
            (false, false) if is_seen => Reason::HandedOn,
            (false, false) => Reason::ZerocopyReported,
        };
    }
    match read.map(unknown_leg) {
        Some(None) => {
            copies.copied = Some(copies.copied.unwrap_or(0) + bytes);
            copies.by_reference = copies.by_reference.or(Some(0));
            copies.evidence = Evidence::Inferred;
        }
        Some(Some(reason)) => {
            copies.unknown = bytes;
            copies.reason = copies.reason.max(reason);
            copies.evidence = Evidence::Inferred;
        }
        None => {}
    }
    copies
}

/// Says of bytes that were not seen to leave, in a session that looks at some connections only, that this is why.
pub(super) fn left_out(copies: &mut Copies, bytes: u64, destination: Kind, seen: &Seen) {
    let would_be_seen = matches!(copies.reason, Reason::Sendfile | Reason::Splice | Reason::NotSeenLeaving);
    if would_be_seen && destination == Kind::Tcp && copies.unknown > 0 && seen.bytes() < bytes {
        copies.reason = Reason::LeftOut;
    }
}

/// Whether what leaves by this end is looked at. What was encrypted cannot be told by its numbers.
pub(super) const fn leaves_by(destination: EndKind) -> bool {
    matches!(destination.kind, Kind::Tcp) && matches!(destination.tls, Tls::None)
}

#[cfg(test)]
mod tests;
