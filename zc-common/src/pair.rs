//! Pairing reads with writes by the user memory between them.
//!
//! What a read put into memory is remembered as *intervals*; a write takes from them the bytes that it
//! sends on, and each byte is taken at most once. Memory is cut into granules of [`GRANULE`] bytes, an
//! interval never crosses from one into the next, and all intervals of a granule are in one [`Set`],
//! found by hashing the process's memory id and the granule. So one look finds everything that
//! overlaps a piece of memory, whichever thread read it, and costs one cache line when there is nothing.
//!
//! Threads of a process use a set at the same time and without locks. The whole state of an interval is
//! one word ([`State`]), changed only by compare-and-swap; the other fields of a way are written by
//! whoever has made its state `busy`. A generation in the word keeps an old look from taking effect on a
//! new interval in the same way.
//!
//! The code is generic over [`Word`], so that the very same logic runs in the kernel and in host tests.

mod set;

use self::set::{BUSY, FRESH, GENERATION_SHIFT, HIGH_SHIFT, TAG_SHIFT};
pub use self::set::{Forgotten, Set, State, Way};
use crate::assert_layout;

/// Bits of an address within a granule.
pub const GRANULE_BITS: u32 = 15;
/// Bytes of a granule.
pub const GRANULE: u64 = 1 << GRANULE_BITS;
/// Intervals of one set.
pub const WAYS: usize = 8;

/// A 64-bit word that several contexts change.
pub trait Word {
    /// Reads the word.
    fn load(&self) -> u64;
    /// Writes the word.
    fn store(&self, value: u64);
    /// Writes `new` if the word is `old`; says whether it was.
    fn swap_if(&self, old: u64, new: u64) -> bool;
    /// Whether the process whose memory this is ([`crate::thread::memory_id`]) may still write. What nobody can write
    /// any more makes room without being missed.
    fn is_alive(_memory: u64) -> bool {
        true
    }
    /// [`fill_free`]. The kernel side has it as a function that the verifier looks at once, and not at each place
    /// that calls it.
    fn fill_free(set: &Set<Self>, piece: &Piece, source: &Source) -> bool
    where
        Self: Sized,
    {
        fill_free(set, piece, source)
    }
    /// [`make_room`], as above.
    fn make_room(set: &Set<Self>, piece: &Piece, source: &Source)
    where
        Self: Sized,
    {
        make_room(set, piece, source);
    }
    /// [`overwrite`], as above.
    fn overwrite(set: &Set<Self>, index: usize, piece: &Piece)
    where
        Self: Sized,
    {
        overwrite(set, index, piece);
    }
}

/// Where the bytes of an interval came from, and what the call that read them had cost.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// The object id in the row of the read: 0 when that row is not named.
    pub object: u32,
    /// A [`crate::path::Kind`].
    pub kind: u8,
    /// Of [`crate::row::SOURCE_FLAGS`].
    pub flags: u8,
    /// Always zero.
    pub reserved: u16,
    /// Reads whose costs go with the first bytes taken: 1, or 0 for all pieces of a read but its first, or
    /// more where intervals were joined.
    pub calls: u32,
    /// Voluntary switches within those reads.
    pub voluntary: u32,
    /// Involuntary switches within those reads.
    pub involuntary: u32,
    /// Minor faults within those reads.
    pub minor: u32,
    /// Major faults within those reads.
    pub major: u32,
    /// When it was put, by any clock of 32 bits: the oldest makes room first.
    pub stamp: u32,
    /// Bytes that storage had to deliver for those reads; what does not fit stays with their leg.
    pub device_read_bytes: u32,
    /// Always zero.
    pub reserved_too: u32,
}

impl Source {
    /// No source.
    pub const NONE: Self = Self {
        object: 0,
        kind: 0,
        flags: 0,
        reserved: 0,
        calls: 0,
        voluntary: 0,
        involuntary: 0,
        minor: 0,
        major: 0,
        stamp: 0,
        device_read_bytes: 0,
        reserved_too: 0,
    };

    /// The same source without costs.
    #[must_use]
    #[inline(always)]
    pub const fn without_costs(self) -> Self {
        Self { calls: 0, voluntary: 0, involuntary: 0, minor: 0, major: 0, device_read_bytes: 0, ..self }
    }

    /// Adds the costs of `other`.
    #[inline(always)]
    pub const fn add_costs(&mut self, other: &Self) {
        self.calls += other.calls;
        self.voluntary += other.voluntary;
        self.involuntary += other.involuntary;
        self.minor += other.minor;
        self.major += other.major;
        self.device_read_bytes = self.device_read_bytes.saturating_add(other.device_read_bytes);
    }

    /// Whether bytes come from the same end.
    #[inline(always)]
    pub const fn is_same_end(&self, other: &Self) -> bool {
        self.object == other.object && self.kind == other.kind && self.flags == other.flags
    }
}

assert_layout!(Source, 40, [u32, u8, u8, u16, [u32; 8]]);

/// A piece of a process's memory within one granule.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// [`crate::thread::memory_id`].
    pub memory: u64,
    /// Address of the granule's first byte.
    pub granule: u64,
    /// First byte, from there.
    pub low: u64,
    /// One past the last byte.
    pub high: u64,
    /// Hash of memory and granule: the low half chooses the set, the high half is the tag.
    pub hash: u64,
}

impl Piece {
    /// The first piece of the `len` bytes at `address`; `len` must not be 0.
    #[inline(always)]
    pub const fn first(memory: u64, address: u64, len: u64) -> Self {
        let granule = address & !(GRANULE - 1);
        let low = address - granule;
        let room = GRANULE - low;
        let high = low + if len < room { len } else { room };
        let hash = (memory ^ granule.rotate_left(17)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        Self { memory, granule, low, high, hash: hash ^ (hash >> 29) }
    }

    /// Bytes of the piece.
    #[inline(always)]
    pub const fn len(&self) -> u64 {
        self.high - self.low
    }

    /// Whether the piece has no bytes.
    pub const fn is_empty(&self) -> bool {
        self.high <= self.low
    }

    #[inline(always)]
    const fn tag(&self) -> u64 {
        // Never 0, so that a set of zeroes holds nothing of anyone.
        (self.hash >> 32) & 0xFFFF | 1
    }

    /// Which set of `mask + 1` holds the granule.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "no more than the mask is left")]
    pub const fn set_index(&self, mask: u32) -> u32 {
        (self.hash & mask as u64) as u32
    }

    #[inline(always)]
    fn is_of<W: Word>(&self, set: &Set<W>, index: usize) -> bool {
        set.memory(index) == self.memory && set.granule(index) == self.granule
    }
}

/// What one pass over a set finds of a piece.
enum Look {
    /// An interval of just these bytes.
    Exact(usize, State),
    /// Nothing of these bytes; the first free way, or [`WAYS`].
    Nothing(usize),
    /// Something that takes a closer look.
    Unclear,
}

#[inline(always)]
fn look<W: Word>(set: &Set<W>, piece: &Piece) -> Look {
    const RANGE_AND_TAG: u64 = (1 << GENERATION_SHIFT) - 1;
    let wanted = piece.tag() << TAG_SHIFT | piece.high << HIGH_SHIFT | piece.low;
    let mut free = WAYS;
    let mut index = 0;
    while index < WAYS {
        let state = set.state(index);
        if state.0 & RANGE_AND_TAG == wanted && !state.is_busy() {
            return if piece.is_of(set, index) { Look::Exact(index, state) } else { Look::Unclear };
        }
        if state.is_empty() {
            if !state.is_busy() && free == WAYS {
                free = index;
            }
        } else if state.tag() == piece.tag() && state.low() < piece.high && piece.low < state.high() {
            return Look::Unclear;
        }
        index += 1;
    }
    if set.forgotten().high == 0 { Look::Nothing(free) } else { Look::Unclear }
}

/// What [`take_quick`] came to.
pub enum Quick {
    /// The bytes of the whole piece.
    Whole(Taken),
    /// Nothing of the piece was read into.
    Nothing,
    /// [`take`] has to look at every way.
    Unclear,
}

/// Does what [`take`] does over all ways, in the usual cases: a buffer is written as it was read, or was not
/// read into.
#[inline(always)]
pub fn take_quick<W: Word>(set: &Set<W>, piece: &Piece) -> Quick {
    match look(set, piece) {
        Look::Exact(index, state) => {
            let source = set.source(index);
            if !set.states[index].swap_if(state.0, state.next(0, 0).0) {
                return Quick::Unclear;
            }
            let source = if state.is_fresh() { source } else { source.without_costs() };
            Quick::Whole(Taken { bytes: piece.len(), source })
        }
        Look::Nothing(_) => Quick::Nothing,
        Look::Unclear => Quick::Unclear,
    }
}

/// Does what [`put`] does, in the usual cases: memory is read into again, or nothing was known of it. False when
/// it did nothing.
#[inline(always)]
pub fn put_quick<W: Word>(set: &Set<W>, piece: &Piece, source: Source) -> bool {
    match look(set, piece) {
        Look::Exact(index, state) => {
            let known = set.source(index);
            let same = Source { stamp: known.stamp, ..source } == known;
            if same && state.is_fresh() && set.state(index) == state {
                // Read again from the same end at the same cost, and nothing was taken in between: what is
                // remembered is right as it is.
                set.touch(index, source.stamp);
                return true;
            }
            fill(set, index, state, piece, &source)
        }
        Look::Nothing(index) if index < WAYS => {
            let state = set.state(index);
            state.is_empty() && fill(set, index, state, piece, &source)
        }
        _ => false,
    }
}

/// Bytes that a write took from an interval.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// How many.
    pub bytes: u64,
    /// Where they came from, with the costs of its reads if nobody had them before.
    pub source: Source,
}

/// What a look at a way came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// Nothing there of this piece.
    Nothing,
    /// So many bytes were there, and are not any more. The costs of the reads belong to them, if `fresh`.
    Bytes { bytes: u64, source: Source, fresh: bool },
    /// Another thread took from the same interval at this moment.
    Missed,
}

/// Takes `piece` from way `index` of `set`, as far as it overlaps; what is left beside it stays.
///
/// When both sides are left, the right one needs a way of its own; without a free one it is forgotten.
#[inline(always)]
pub fn take<W: Word>(set: &Set<W>, index: usize, piece: &Piece) -> Option<Taken> {
    match cut(set, index, piece, true) {
        Cut::Nothing => None,
        Cut::Bytes { bytes, source, fresh } => {
            Some(Taken { bytes, source: if fresh { source } else { source.without_costs() } })
        }
        Cut::Missed => {
            set.forget(piece.memory, piece.granule, piece.low, piece.high);
            None
        }
    }
}

/// Cuts `piece` out of way `index`. The costs stay with what is left, unless they are taken with the bytes.
#[inline(always)]
fn cut<W: Word>(set: &Set<W>, index: usize, piece: &Piece, with_costs: bool) -> Cut {
    let state = set.state(index);
    if state.tag() != piece.tag() || state.is_busy() {
        return Cut::Nothing;
    }
    let low = if piece.low > state.low() { piece.low } else { state.low() };
    let high = if piece.high < state.high() { piece.high } else { state.high() };
    if low >= high {
        return Cut::Nothing;
    }
    if !piece.is_of(set, index) {
        return Cut::Nothing;
    }
    let source = set.source(index);
    let left = state.next(state.low(), low);
    let right = state.next(high, state.high());
    let stays = if left.is_empty() { right } else { left };
    let costs = if with_costs { 0 } else { state.0 & FRESH };
    if !set.states[index].swap_if(state.0, stays.0 | costs) {
        return Cut::Missed;
    }
    if !left.is_empty() && !right.is_empty() {
        let rest = Piece { low: high, high: state.high(), ..*piece };
        if !W::fill_free(set, &rest, &source.without_costs()) {
            set.forget(rest.memory, rest.granule, rest.low, rest.high);
        }
    }
    Cut::Bytes { bytes: high - low, source, fresh: state.is_fresh() }
}

/// Notes that other bytes are in `piece` than those that were read into it. They are of no read.
#[inline(always)]
pub fn clear<W: Word>(set: &Set<W>, piece: &Piece) {
    let mut index = 0;
    while index < WAYS {
        W::overwrite(set, index, piece);
        index += 1;
    }
    set.remember(piece);
}

/// Remembers that `piece` was read from `source`; what was known of that memory before does not count any
/// more.
///
/// When an interval that still waits for its write has to make room, it is [`Forgotten`].
#[inline(always)]
pub fn put<W: Word>(set: &Set<W>, piece: &Piece, source: &Source) {
    clear(set, piece);
    if !W::fill_free(set, piece, source) {
        W::make_room(set, piece, source);
    }
}

/// Puts `piece` where no way is free: with what it goes on from, or in the place of what is oldest.
#[inline(always)]
pub fn make_room<W: Word>(set: &Set<W>, piece: &Piece, source: &Source) {
    if join(set, piece, source) {
        return;
    }
    let mut oldest = 0;
    let mut age = 0;
    let mut index = 0;
    while index < WAYS {
        let this = source.stamp.wrapping_sub(set.stamp(index));
        if this > age {
            age = this;
            oldest = index;
        }
        index += 1;
    }
    let state = set.state(oldest);
    let (memory, granule) = (set.memory(oldest), set.granule(oldest));
    if fill(set, oldest, state, piece, source) {
        set.forget(memory, granule, state.low(), state.high());
    } else {
        set.forget(piece.memory, piece.granule, piece.low, piece.high);
    }
}

/// Forgets what way `index` holds of `piece`, which goes nowhere.
#[inline(always)]
pub fn overwrite<W: Word>(set: &Set<W>, index: usize, piece: &Piece) {
    cut(set, index, piece, false);
}

/// Gives `piece` a way of its own; false when all are taken by processes that may still write. In a long session
/// most of what fills a set is of those that may not.
#[inline(always)]
pub fn fill_free<W: Word>(set: &Set<W>, piece: &Piece, source: &Source) -> bool {
    let mut index = 0;
    while index < WAYS {
        // The same look for both: in between, another thread may use the way.
        let state = set.state(index);
        if state.is_empty() && fill(set, index, state, piece, source) {
            return true;
        }
        index += 1;
    }
    index = 0;
    while index < WAYS {
        let state = set.state(index);
        if !W::is_alive(set.memory(index)) && fill(set, index, state, piece, source) {
            return true;
        }
        index += 1;
    }
    false
}

/// Adds `piece` to the end of an interval that came from the same end, as when a buffer is filled little by
/// little. Done only when ways run out: the costs of joined reads go together.
#[inline(always)]
fn join<W: Word>(set: &Set<W>, piece: &Piece, source: &Source) -> bool {
    let mut index = 0;
    while index < WAYS {
        let state = set.state(index);
        let known = set.source(index);
        let adjoins = state.tag() == piece.tag() && state.high() == piece.low && !state.is_empty();
        if adjoins && piece.is_of(set, index) && known.is_same_end(source) {
            let mut joined = if state.is_fresh() { known } else { known.without_costs() };
            joined.add_costs(source);
            joined.stamp = source.stamp;
            let whole = Piece { low: state.low(), ..*piece };
            return fill(set, index, state, &whole, &joined);
        }
        index += 1;
    }
    false
}

/// Makes way `index` hold `piece`, if the way is still in `state`.
#[inline(always)]
fn fill<W: Word>(set: &Set<W>, index: usize, state: State, piece: &Piece, source: &Source) -> bool {
    let claimed = state.next(0, 0);
    if state.is_busy() || !set.states[index].swap_if(state.0, claimed.0 | BUSY) {
        return false;
    }
    // Before the state says that it is written.
    set.write(index, piece.memory, piece.granule, source);
    set.states[index].store(claimed.next(piece.low, piece.high).with_tag(piece.tag()).0 | FRESH);
    true
}

#[cfg(test)]
mod tests;
