//! The rows of one process, threads added up, and what reads lose to the pairs made from them.

use std::collections::{BTreeMap, BTreeSet};

use zc_common::{
    fault::PAGE,
    path::{Kind, Path, Tls, kind_bits},
    row::{
        AIO_DESTINATION, AIO_SOURCE, Costs, DIRECT_DESTINATION, DIRECT_SOURCE, MAPPED_SOURCE,
        MESSAGE_DESTINATION, MESSAGE_SOURCE, RING_DESTINATION, RING_SOURCE, RowKey, RowValue, SOURCE_FLAGS,
        SPECIAL, THROUGH_UNNAMED, VALUE_COPY_UNSEEN,
    },
};

use super::{
    copies::{Copies, EndKind},
    facts::Facts,
    report::Via,
    seen::{Seen, left_out},
};

/// A [`RowKey`] without the thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EntryKey {
    pub(super) path: Path,
    pub(super) source_kind: Kind,
    pub(super) destination_kind: Kind,
    pub(super) source_tls: Tls,
    pub(super) destination_tls: Tls,
    pub(super) flags: u8,
    pub(super) source: u32,
    pub(super) destination: u32,
    pub(super) through: u32,
}

impl EntryKey {
    /// The key of a row; `None` when its path is not one of this version's.
    pub(super) fn of(row: &RowKey) -> Option<Self> {
        Some(Self {
            path: Path::from_u8(row.path)?,
            source_kind: Kind::from_u8(kind_bits(row.source_kind)).unwrap_or(Kind::Unknown),
            destination_kind: Kind::from_u8(kind_bits(row.destination_kind)).unwrap_or(Kind::Unknown),
            source_tls: Tls::of_source(row.source_kind),
            destination_tls: Tls::of_destination(row.destination_kind),
            flags: row.flags,
            source: row.source,
            destination: row.destination,
            through: row.through,
        })
    }

    /// The leg that this row took its bytes from, if it did: the read that filled the memory which was written from, or
    /// the call that put them into the pipe which they were spliced out of.
    fn leg(self) -> Option<Self> {
        let from = Self {
            flags: self.flags & SOURCE_FLAGS,
            destination: 0,
            destination_tls: Tls::None,
            through: 0,
            ..self
        };
        if self.is_pair() {
            // No call but vmsplice gets bytes out of a pipe uncounted.
            let is_vmsplice = self.source_kind == Kind::Pipe && self.has(MESSAGE_SOURCE);
            let path = if is_vmsplice { Path::Vmsplice } else { Path::Read };
            return Some(Self { path, destination_kind: Kind::Memory, ..from });
        }
        let pipe = self.pipe()?;
        Some(Self { destination_kind: Kind::Pipe, destination: pipe, ..from })
    }

    /// The leg out of the pipe that has these bytes, too, as they were seen to come out of it before they were seen to
    /// go in.
    fn late_leg(self) -> Option<Self> {
        let pipe = self.pipe().filter(|_| self.has(SPECIAL))?;
        Some(Self {
            path: Path::Splice,
            source_kind: Kind::Pipe,
            source_tls: Tls::None,
            source: pipe,
            flags: self.flags & !(SOURCE_FLAGS | SPECIAL),
            through: 0,
            ..self
        })
    }

    /// Whether a read filled the memory that was written from.
    fn is_pair(self) -> bool {
        // What came from the memory of another process has a flag; what no read filled has none.
        let is_read = self.source_kind != Kind::Memory || self.has(MESSAGE_SOURCE);
        match self.path {
            Path::ReadWrite => true,
            Path::SendZerocopy => is_read && !self.has(MAPPED_SOURCE),
            _ => false,
        }
    }

    /// The id of the pipe between the ends, 0 when it is not named.
    fn pipe(self) -> Option<u32> {
        match self.through {
            0 => None,
            THROUGH_UNNAMED => Some(0),
            named => Some(named),
        }
    }

    const fn has(&self, flags: u8) -> bool {
        self.flags & flags != 0
    }

    /// What reads have cost, without those that were no calls.
    fn costs_of_calls(&self, taken: &Costs) -> Costs {
        Costs { calls: if self.has(RING_SOURCE) { 0 } else { taken.calls }, ..*taken }
    }

    /// How the kernel was asked; when for the two ends in different ways, by a ring before AIO before calls.
    pub(super) fn via(&self) -> Via {
        let sides = [(RING_SOURCE, AIO_SOURCE), (RING_DESTINATION, AIO_DESTINATION)];
        let mut via = Via::Syscall;
        for (ring, aio) in sides {
            via = match self.flags & aio {
                flags if flags == aio && via != Via::IoUring => Via::Aio,
                flags if flags == ring => Via::IoUring,
                _ => via,
            };
        }
        via
    }

    /// Whether the kernel counts bytes of this row in `rchar` and in `wchar` of `/proc/PID/io`.
    fn is_counted(&self) -> (bool, bool) {
        let from = !self.has(MESSAGE_SOURCE | RING_SOURCE);
        let to = !self.has(MESSAGE_DESTINATION | RING_DESTINATION);
        match self.path {
            Path::Read => (from, false),
            Path::Write | Path::MmapWrite => (false, to),
            Path::ReadWrite => (from, to),
            Path::CopyFileRange if self.has(SPECIAL) => (false, false),
            Path::Sendfile | Path::CopyFileRange => (true, true),
            Path::SendZerocopy => (self.is_pair() && from, to),
            // The last two are shown, and in no row.
            Path::Splice
            | Path::Tee
            | Path::Vmsplice
            | Path::Mmap
            | Path::Thread
            | Path::RecvZerocopy
            | Path::DirectRead
            | Path::DirectWrite => (false, false),
        }
    }

    /// All that is known of a row.
    fn facts(&self, entry: &Entry) -> Facts {
        Facts {
            path: self.path,
            source: self.source_end(),
            destination: self.destination_end(),
            is_pair: self.is_pair(),
            is_special: self.has(SPECIAL),
            source_by_ring: self.has(RING_SOURCE),
            bytes: entry.bytes,
            copied: entry.copied,
            by_reference: entry.by_reference,
            filled_by_device: entry.filled_by_device,
            seen: entry.seen,
            copy_unseen: entry.copy_unseen,
        }
    }

    fn source_end(&self) -> EndKind {
        EndKind::new(self.source_kind, self.has(DIRECT_SOURCE), self.source_tls)
    }

    fn destination_end(&self) -> EndKind {
        EndKind::new(self.destination_kind, self.has(DIRECT_DESTINATION), self.destination_tls)
    }

    /// The path that the report names.
    pub(super) fn shown_path(&self) -> Path {
        match self.path {
            Path::Read if self.source_end().direct => Path::DirectRead,
            Path::Write if self.destination_end().direct => Path::DirectWrite,
            path => path,
        }
    }
}

/// What was moved, before it is known what part of it belongs to pairs.
#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    bytes: u64,
    copied: u64,
    by_reference: u64,
    /// Of a pair: all bytes of the leg that it took from were put into memory by the device itself.
    filled_by_device: bool,
    /// What was seen of them when they left.
    seen: Seen,
    /// Of reads from sockets: not every copy was seen.
    copy_unseen: bool,
    transfers: u64,
    own: Costs,
    taken: Costs,
}

/// All rows of one process.
#[derive(Debug, Default)]
pub(super) struct Entries {
    rows: BTreeMap<EntryKey, Entry>,
    /// Some connections were left out, as it was asked for.
    pub(super) are_sampled: bool,
}

/// Several entries together, ready to be shown.
#[derive(Clone, Debug)]
pub(super) struct Sum {
    pub(super) bytes: u64,
    pub(super) rchar: u64,
    pub(super) wchar: u64,
    pub(super) transfers: u64,
    pub(super) costs: Costs,
    pub(super) copies: Copies,
    /// Page faults that were calls into the kernel of their own.
    pub(super) user_faults: u64,
    /// Page faults that copied a page; `None` where there can be none.
    pub(super) copy_on_write: Option<u64>,
}

impl Entries {
    /// Adds the row of a thread.
    ///
    /// `sees_received` when it was seen what is copied out of sockets.
    pub(super) fn add(&mut self, key: EntryKey, value: &RowValue, seen: &Seen, sees_received: bool) {
        let entry = self.rows.entry(key).or_default();
        entry.copy_unseen |= !sees_received || value.flags & VALUE_COPY_UNSEEN != 0;
        entry.bytes += value.bytes;
        entry.copied += value.copied;
        entry.by_reference += value.by_reference;
        entry.seen.add(seen);
        entry.transfers += value.transfers;
        entry.own.add(&value.own);
        entry.taken.add(&value.taken);
    }

    /// Takes off the legs what pairs took from them, so that each byte and each call is in one place.
    ///
    /// Returns how many legs had less than was taken from them: none, unless rows were lost or read while
    /// their threads went on.
    pub(super) fn settle(&mut self) -> u64 {
        let mut wanted = BTreeMap::<EntryKey, Entry>::new();
        for (key, pair) in &mut self.rows {
            let Some(leg) = key.leg() else { continue };
            if let Some(leg) = key.late_leg() {
                let leg = wanted.entry(leg).or_default();
                leg.bytes += pair.bytes;
                leg.transfers += pair.own.calls;
                // They were added as they were put into the pipe, and a transfer is what came out.
                pair.transfers = pair.transfers.min(pair.own.calls.max(1));
                if key.has(RING_DESTINATION) {
                    pair.own.calls = 0;
                }
                leg.taken.add(&pair.own);
            }
            let leg = wanted.entry(leg).or_default();
            leg.bytes += pair.bytes;
            leg.transfers += pair.taken.calls;
            let taken = key.costs_of_calls(&pair.taken);
            leg.taken.add(&taken);
            pair.own.add(&taken);
        }
        let mut short = 0;
        let mut filled = BTreeSet::new();
        for (key, want) in wanted {
            let leg = self.rows.entry(key).or_default();
            short += u64::from(!leg.covers(&want));
            if leg.bytes > 0 && leg.by_reference >= leg.bytes {
                filled.insert(key);
            }
            leg.bytes = leg.bytes.saturating_sub(want.bytes);
            // Which of its bytes were taken is not known.
            leg.by_reference = leg.by_reference.saturating_sub(want.bytes);
            // Of a read, they are beside its bytes.
            if key.path != Path::Read {
                leg.copied = leg.copied.saturating_sub(want.bytes);
            }
            // Every call that was taken had moved bytes: it was a transfer.
            leg.transfers = leg.transfers.saturating_sub(want.transfers);
            leg.own.subtract(&want.taken);
        }
        for (key, pair) in &mut self.rows {
            pair.filled_by_device = key.leg().is_some_and(|leg| filled.contains(&leg));
        }
        self.rows.retain(|_, entry| entry.bytes != 0 || entry.own.calls != 0 || entry.copied != 0);
        short
    }

    /// Adds up what has the same key, leaving out what has none.
    pub(super) fn group<K: Ord>(&self, key_of: impl Fn(&EntryKey) -> Option<K>) -> BTreeMap<K, Sum> {
        let mut groups = BTreeMap::<K, Sum>::new();
        for (key, entry) in &self.rows {
            if let Some(group) = key_of(key) {
                groups.entry(group).or_insert_with(Sum::new).add(key, entry, self.are_sampled);
            }
        }
        groups
    }
}

impl Entry {
    fn covers(&self, want: &Self) -> bool {
        let Costs { calls, voluntary, involuntary, minor, major, device_read_bytes } = want.taken;
        want.bytes <= self.bytes
            && want.transfers <= self.transfers
            && calls <= self.own.calls
            && voluntary <= self.own.voluntary
            && involuntary <= self.own.involuntary
            && minor <= self.own.minor
            && major <= self.own.major
            && device_read_bytes <= self.own.device_read_bytes
    }
}

impl Sum {
    const fn new() -> Self {
        Self {
            bytes: 0,
            rchar: 0,
            wchar: 0,
            transfers: 0,
            costs: Costs::NONE,
            copies: Copies::none(),
            user_faults: 0,
            copy_on_write: None,
        }
    }

    fn add(&mut self, key: &EntryKey, entry: &Entry, is_sampled: bool) {
        self.bytes += entry.bytes;
        let (rchar, wchar) = key.is_counted();
        self.rchar += if rchar { entry.bytes } else { 0 };
        self.wchar += if wchar { entry.bytes } else { 0 };
        self.transfers += entry.transfers;
        self.costs.add(&entry.own);
        let mut copies = key.facts(entry).copies();
        if is_sampled {
            left_out(&mut copies, entry.bytes, key.destination_kind, &entry.seen);
        }
        self.copies.add(&copies);
        if key.path == Path::Mmap {
            self.user_faults += entry.taken.calls;
            *self.copy_on_write.get_or_insert(0) += entry.copied / PAGE;
        }
    }
}
