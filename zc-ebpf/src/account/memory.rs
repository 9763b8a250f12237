//! Walking the user memory of a call, piece by piece, for the pairing of reads with writes.

mod buffers;
mod sets;
mod shape;

use core::ffi::c_void;

use aya_ebpf::{helpers::generated::bpf_loop, macros::map, maps::PerCpuArray};
use zc_common::{
    loss::Loss,
    mapping::Mapping,
    pair::{self, Piece, Quick, Source, Taken, WAYS},
    path::Path,
    row::{MAPPED_SOURCE, SOURCE_FLAGS},
    thread::Thread,
};

pub(super) use self::buffers::bytes_of_messages;
use self::sets::set_of;
pub(crate) use self::shape::{Memory, Shape};
use super::{
    later::PUT,
    read_write::{Rest, count_rest},
};
use crate::{
    kernel::lowest_bit,
    mapping::{self, zc_find_mapping},
    maps::lose,
    row::{self, Entry},
    thread::CallCosts,
};

/// How many pieces of one call are followed: 32 MiB of one buffer, or that many entries of a vector.
const PIECES_MAX: u32 = 1024;

/// How many sources one write is split into; a power of two.
const SHARES: usize = 16;

/// What a write takes from one source.
#[repr(C)]
#[derive(Clone, Copy)]
struct Share {
    source: Source,
    bytes: u64,
    /// Reads whose costs came with the bytes.
    calls: u32,
    costs: CallCosts,
}

impl Share {
    #[inline(always)]
    fn new(source: Source, bytes: u64) -> Self {
        let Source { calls, voluntary, involuntary, minor, major, device_read_bytes, .. } = source;
        let costs = CallCosts { voluntary, involuntary, minor, major, device_read_bytes, by_device: 0 };
        Self { source, bytes, calls, costs }
    }
}

/// Where a walk through the memory of a call has come to. Programs on the ends of calls are not preempted,
/// and nothing else uses this, so one for each CPU is enough; the stack has no room for it.
#[repr(C)]
struct Walk {
    /// Of the process.
    memory: u64,
    /// Next byte.
    address: u64,
    /// Bytes left in this buffer.
    left: u64,
    /// Bytes left in the call after this buffer.
    left_after: u64,
    /// Next entry of the vector.
    vector: u64,
    /// Entries left in the vector, where its length is known.
    entries: u64,
    /// Next message, when there are several.
    message: u64,
    /// Messages left.
    messages: u64,
    /// Bytes taken so far.
    taken: u64,
    /// The piece that is being looked at.
    piece: Piece,
    /// What was taken last, and is in no share yet.
    found: Taken,
    /// What is put.
    source: Source,
    /// The range that what is taken lies in.
    mapping: Mapping,
    /// What is taken goes to rows that are made from this.
    entry: Entry,
    /// And what is left over, to another.
    rest: Rest,
    /// How many of `shares` are used.
    used: u64,
    shares: [Share; SHARES],
}

#[map]
static WALK: PerCpuArray<Walk> = PerCpuArray::with_max_entries(1, 0);

/// Looked up anew by each who asks: through a reference that was kept, the compiler may think that nothing has changed.
#[inline(always)]
fn place() -> Option<&'static mut Walk> {
    // SAFETY: this CPU's, and nothing interrupts a walk to begin another.
    WALK.get_ptr_mut(0).map(|walk| unsafe { &mut *walk })
}

impl Walk {
    #[inline(always)]
    fn begin(&mut self, thread: *mut Thread, memory: &Memory, bytes: u64) {
        // SAFETY: map memory, only this thread's.
        self.memory = unsafe { (*thread).memory };
        self.begin_buffers(memory, bytes);
        self.mapping = Mapping::NONE;
        self.taken = 0;
        self.used = 0;
    }

    /// The next piece of the next `bytes` bytes, which are in one buffer. Of an empty entry of a vector, an empty piece.
    #[inline(always)]
    fn next(&mut self, bytes: u64) -> Piece {
        let piece = Piece::first(self.memory, self.address, bytes);
        self.skip(piece.len());
        piece
    }

    #[inline(always)]
    fn skip(&mut self, bytes: u64) {
        self.address += bytes;
        self.left -= bytes;
    }

    /// How many of the next bytes are in one buffer and in one mapping.
    #[inline(always)]
    fn bytes_of_mapping(&self) -> u64 {
        if self.left == 0 {
            return 0;
        }
        let room = self.mapping.end - self.address;
        if self.left < room { self.left } else { room }
    }

    /// Notes bytes that no read has filled and that are those of a file.
    #[inline(always)]
    fn take_from_file(&mut self, bytes: u64) {
        self.found = Taken { bytes, source: self.mapping.source() };
        zc_note(self);
    }

    #[inline(always)]
    fn is_done(&self) -> bool {
        self.left | self.left_after | self.messages == 0
    }

    /// Gathers what comes from the same source, so that a call adds to few rows. False when there are too
    /// many sources.
    #[inline(always)]
    fn note(&mut self) -> bool {
        let Taken { bytes, source } = self.found;
        let mut last = self.used as usize;
        let mut same = false;
        if last > 0 {
            same = self.shares[(last - 1) & (SHARES - 1)].source.is_same_end(&source);
        }
        if same {
            last -= 1;
        } else {
            if last >= SHARES {
                return false;
            }
            self.used += 1;
            let share = &mut self.shares[last & (SHARES - 1)];
            *share = Share { source, bytes: 0, calls: 0, costs: CallCosts::NONE };
        }
        let share = &mut self.shares[last & (SHARES - 1)];
        share.bytes += bytes;
        if source.calls != 0 {
            share.calls += source.calls;
            share.costs.voluntary += source.voluntary;
            share.costs.involuntary += source.involuntary;
            share.costs.minor += source.minor;
            share.costs.major += source.major;
            let sum = share.costs.device_read_bytes.checked_add(source.device_read_bytes);
            share.costs.device_read_bytes = sum.unwrap_or(u32::MAX);
        }
        self.taken += bytes;
        true
    }
}

/// Remembers that the memory of a read call was filled from `source`; returns what is left to do.
#[inline(always)]
pub(super) fn put(thread: *mut Thread, memory: &Memory, bytes: u64, source: Source) -> u64 {
    if let Some(piece) = memory.whole_piece(thread, bytes)
        && set_of(&piece).is_some_and(|set| pair::put_quick(set, &piece, source))
    {
        return 0;
    }
    if memory.shape == Shape::Nowhere {
        return 0;
    }
    let Some(walk) = place() else { return 0 };
    walk.begin(thread, memory, bytes);
    walk.source = source;
    PUT
}

/// Notes that memory was filled by bytes of no row: what reads had put there is there no more. Returns what is left to
/// do.
#[inline(always)]
pub(super) fn overwrite(thread: *mut Thread, memory: &Memory, bytes: u64) -> u64 {
    let Some(walk) = place() else { return 0 };
    walk.begin(thread, memory, bytes);
    walk.source = Source { kind: OVERWRITTEN, ..Source::NONE };
    PUT
}

/// In place of the kind of what is put: nothing is.
const OVERWRITTEN: u8 = u8::MAX;

/// Takes the bytes of a write call from what reads have put into its memory, or from the files that are mapped there,
/// and counts them in rows made from `entry`; returns how many. `None` when that is left to do, with `whole`, of which
/// the rest is counted then.
#[inline(always)]
pub(super) fn take(
    thread: *mut Thread,
    memory: &Memory,
    bytes: u64,
    entry: &mut Entry,
    whole: &Rest,
) -> Option<u64> {
    if bytes == 0 || memory.shape == Shape::Nowhere {
        return Some(0);
    }
    if let Some(piece) = memory.whole_piece(thread, bytes)
        && let Some(set) = set_of(&piece)
    {
        match pair::take_quick(set, &piece) {
            Quick::Whole(Taken { bytes, source }) => {
                let share = Share::new(source, bytes);
                add_share(thread, entry, &share);
                return Some(bytes);
            }
            Quick::Nothing if mapping::is_memory(thread, memory.address, bytes) => return Some(0),
            Quick::Nothing | Quick::Unclear => {}
        }
    }
    if memory.shape == Shape::Buffer
        && let Some(mapping) = mapping::untouched_file(thread, memory.address, bytes)
    {
        let share = Share::new(mapping.source(), bytes);
        add_share(thread, entry, &share);
        return Some(bytes);
    }
    let Some(walk) = place() else { return Some(0) };
    walk.begin(thread, memory, bytes);
    walk.entry = *entry;
    walk.rest = *whole;
    None
}

/// The walk of [`put`]. A global function, as above.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn zc_put_walk() -> u64 {
    run(put_next);
    1
}

/// The walk of [`take`], and all that is counted after it. A global function, as above.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn zc_take_walk(thread: *mut Thread) -> u64 {
    if thread.is_null() {
        return 0;
    }
    run(take_next);
    let Some(walk) = place() else { return 0 };
    let mut index = 0;
    while index < SHARES {
        if index as u64 >= walk.used {
            break;
        }
        zc_add_share(thread, &raw mut walk.entry, &raw const walk.shares[index]);
        index += 1;
    }
    if walk.taken != walk.rest.bytes {
        walk.rest.bytes -= walk.taken;
        count_rest(thread, &mut walk.entry, &walk.rest);
    }
    1
}

/// A global function, as above: for writes that took from several sources.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn zc_add_share(thread: *mut Thread, entry: *mut Entry, share: *const Share) -> u64 {
    if thread.is_null() || entry.is_null() || share.is_null() {
        return 0;
    }
    // SAFETY: the only caller passes references.
    unsafe { add_share(thread, &mut *entry, &*share) };
    1
}

/// Adds what was taken from one source to its row.
#[inline(always)]
fn add_share(thread: *mut Thread, entry: &mut Entry, share: &Share) {
    let is_mapped = share.source.flags & MAPPED_SOURCE != 0;
    if entry.key.path != Path::SendZerocopy as u8 {
        entry.key.path = if is_mapped { Path::MmapWrite } else { Path::ReadWrite } as u8;
    }
    entry.key.flags = share.source.flags | entry.key.flags & !SOURCE_FLAGS;
    entry.key.source_kind = share.source.kind;
    entry.key.source = share.source.object;
    entry.bytes = share.bytes;
    entry.taken_calls = share.calls;
    entry.taken = share.costs;
    row::add(thread, entry);
    // The call and its costs are counted once.
    entry.calls = 0;
    entry.own = CallCosts { by_device: entry.own.by_device, ..CallCosts::NONE };
}

#[inline(always)]
fn run(step: extern "C" fn(u32, *mut c_void) -> i64) {
    // SAFETY: `step` has the signature of a callback.
    unsafe { bpf_loop(PIECES_MAX, step as *mut c_void, core::ptr::null_mut(), 0) };
    if place().is_some_and(|walk| !walk.is_done()) {
        lose(Loss::PairsTruncated);
    }
}

const STOP: u64 = 1;

#[inline(never)]
extern "C" fn put_next(_index: u32, _context: *mut c_void) -> i64 {
    place().map_or(1, |walk| lowest_bit(zc_put_piece(walk)) as i64)
}

/// Goes on to the next buffer that has bytes left, and finds out what is mapped there: not in [`zc_take_piece`], as there
/// would be no stack left.
#[inline(never)]
extern "C" fn take_next(_index: u32, _context: *mut c_void) -> i64 {
    let Some(walk) = place() else { return 1 };
    if walk.left == 0 && buffers::zc_next_buffer(walk) == 0 {
        return 1;
    }
    let Some(walk) = place() else { return 1 };
    if walk.left != 0
        && !walk.mapping.has(walk.address)
        && zc_find_mapping(walk.address, &raw mut walk.mapping) == 0
    {
        lose(Loss::MappingsUnread);
    }
    place().map_or(1, |walk| lowest_bit(zc_take_piece(walk)) as i64)
}

/// A global function: the verifier looks at it once, and not again at each call.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn zc_put_piece(walk: *mut Walk) -> u64 {
    if walk.is_null() {
        return STOP;
    }
    // SAFETY: this CPU's, and nothing interrupts a walk to begin another.
    let walk = unsafe { &mut *walk };
    if walk.left == 0 && buffers::zc_next_buffer(walk) == 0 {
        return STOP;
    }
    walk.piece = walk.next(walk.left);
    let Some(set) = set_of(&walk.piece) else { return STOP };
    if walk.source.kind == OVERWRITTEN {
        pair::clear(set, &walk.piece);
    } else if !walk.piece.is_empty() {
        pair::put(set, &walk.piece, &walk.source);
        // The costs of the read go with one piece only.
        walk.source = walk.source.without_costs();
    }
    u64::from(walk.is_done())
}

/// As above.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn zc_take_piece(walk: *mut Walk) -> u64 {
    if walk.is_null() {
        return STOP;
    }
    // SAFETY: this CPU's, and nothing interrupts a walk to begin another.
    let walk = unsafe { &mut *walk };
    let bytes = walk.bytes_of_mapping();
    if bytes != 0 && walk.mapping.is_untouched_file() {
        // However many there are.
        walk.skip(bytes);
        walk.take_from_file(bytes);
        return u64::from(walk.is_done());
    }
    walk.piece = walk.next(bytes);
    let Some(set) = set_of(&walk.piece) else { return STOP };
    let before = walk.taken;
    let mut way = 0;
    while way < WAYS as u64 {
        if zc_take_way(walk, way) != 0 {
            zc_note(walk);
        }
        way += 1;
    }
    let missed = walk.piece.len() - (walk.taken - before);
    if missed != 0 {
        if set.forgotten().overlaps(&walk.piece) {
            lose(Loss::PairsEvicted);
        }
        if walk.mapping.is_file() {
            walk.take_from_file(missed);
        }
    }
    u64::from(walk.is_done())
}

/// As above. What was taken from too many sources stays two legs.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn zc_note(walk: *mut Walk) -> u64 {
    if walk.is_null() {
        return 0;
    }
    // SAFETY: the only callers pass references.
    if !unsafe { (*walk).note() } {
        lose(Loss::PairsTruncated);
    }
    1
}

/// As above, for one way of the piece's set. 1 when there is something to note.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn zc_take_way(walk: *mut Walk, way: u64) -> u64 {
    if walk.is_null() {
        return 0;
    }
    // SAFETY: the only caller passes a reference.
    let walk = unsafe { &mut *walk };
    let Some(set) = set_of(&walk.piece) else { return 0 };
    let Some(taken) = pair::take(set, way as usize & (WAYS - 1), &walk.piece) else { return 0 };
    walk.found = taken;
    1
}
