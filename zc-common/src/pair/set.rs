//! How intervals are kept: the state of one in a word, and sets of them.

use core::{cell::UnsafeCell, mem};

use super::{Piece, Source, WAYS, Word};
use crate::assert_layout;

/// The state of a way: which bytes of its granule still wait for a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State(pub u64);

pub(super) const HIGH_SHIFT: u32 = 16;
pub(super) const TAG_SHIFT: u32 = 32;
pub(super) const GENERATION_SHIFT: u32 = 48;
pub(super) const GENERATION_MASK: u64 = 0x3FFF << GENERATION_SHIFT;
pub(super) const FRESH: u64 = 1 << 62;
pub(super) const BUSY: u64 = 1 << 63;

impl State {
    /// First byte of the interval, from the beginning of the granule.
    #[inline(always)]
    pub const fn low(self) -> u64 {
        self.0 & 0xFFFF
    }

    /// One past its last byte.
    #[inline(always)]
    pub const fn high(self) -> u64 {
        (self.0 >> HIGH_SHIFT) & 0xFFFF
    }

    /// A few bits of the hash of memory and granule: a cheap first look.
    #[inline(always)]
    pub const fn tag(self) -> u64 {
        (self.0 >> TAG_SHIFT) & 0xFFFF
    }

    /// Nothing was taken from the interval yet: whoever takes first also takes the costs of the read.
    #[inline(always)]
    pub const fn is_fresh(self) -> bool {
        self.0 & FRESH != 0
    }

    /// The way is being filled.
    #[inline(always)]
    pub const fn is_busy(self) -> bool {
        self.0 & BUSY != 0
    }

    /// No byte waits.
    #[inline(always)]
    pub const fn is_empty(self) -> bool {
        self.low() >= self.high()
    }

    /// The next generation, as an interval `low..high`, keeping tag.
    #[inline(always)]
    pub(super) const fn next(self, low: u64, high: u64) -> Self {
        let generation = (self.0 + (1 << GENERATION_SHIFT)) & GENERATION_MASK;
        Self(generation | (self.0 & (0xFFFF << TAG_SHIFT)) | high << HIGH_SHIFT | low)
    }

    #[inline(always)]
    pub(super) const fn with_tag(self, tag: u64) -> Self {
        Self(self.0 & !(0xFFFF << TAG_SHIFT) | (tag & 0xFFFF) << TAG_SHIFT)
    }
}

/// The rest of a way, valid while its state is not busy and not empty.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// [`crate::thread::memory_id`] of the process.
    pub memory: u64,
    /// Address of the granule's first byte.
    pub granule: u64,
    /// Where the bytes came from.
    pub source: Source,
}

/// Words of a [`Way`] before its source, and of the source.
const WORDS_BEFORE_SOURCE: usize = 2;
const SOURCE_WORDS: usize = size_of::<Source>() / size_of::<u64>();

/// The intervals of some granules.
#[repr(C)]
#[derive(Debug)]
pub struct Set<W> {
    pub(super) states: [W; WAYS],
    pub(super) ways: [UnsafeCell<Way>; WAYS],
    forgotten: UnsafeCell<Forgotten>,
}

// SAFETY: a way is written only by whoever has made its state busy, and what is read of it takes effect only if
// its state has not changed since; `forgotten` is a hint. All of these accesses are volatile.
unsafe impl<W: Sync> Sync for Set<W> {}

impl<W: Word> Set<W> {
    /// A set of nothing, from words that are 0. In the kernel that is a map that nobody has written to.
    pub const fn new(states: [W; WAYS]) -> Self {
        Self {
            states,
            ways: [const { UnsafeCell::new(Way { memory: 0, granule: 0, source: Source::NONE }) }; WAYS],
            forgotten: UnsafeCell::new(Forgotten { memory: 0, granule: 0, low: 0, high: 0 }),
        }
    }

    #[inline(always)]
    pub(super) fn state(&self, index: usize) -> State {
        State(self.states[index].load())
    }

    /// A word of a way. To be read after its state: if the way is filled anew meanwhile, a swap of that state fails.
    ///
    /// Words are read one by one: what is not needed costs nothing, and a copy would lie on the small stack of the
    /// kernel programs.
    #[inline(always)]
    fn word(&self, index: usize, word: usize) -> u64 {
        // SAFETY: see `Sync`; a way consists of so many words.
        unsafe { self.ways[index].get().cast::<u64>().add(word).read_volatile() }
    }

    /// The process whose memory a way is of.
    #[inline(always)]
    pub(super) fn memory(&self, index: usize) -> u64 {
        self.word(index, 0)
    }

    /// Where the granule of a way begins.
    #[inline(always)]
    pub(super) fn granule(&self, index: usize) -> u64 {
        self.word(index, 1)
    }

    /// Where the bytes of a way came from.
    #[inline(always)]
    pub(super) fn source(&self, index: usize) -> Source {
        let word = |word| self.word(index, WORDS_BEFORE_SOURCE + word);
        let words = [word(0), word(1), word(2), word(3), word(4)];
        // SAFETY: both are numbers all through, and the words were written from a source.
        unsafe { mem::transmute::<[u64; SOURCE_WORDS], Source>(words) }
    }

    /// When a way was filled, or made young again.
    #[inline(always)]
    pub(super) fn stamp(&self, index: usize) -> u32 {
        // SAFETY: see `Sync`.
        unsafe { (&raw const (*self.ways[index].get()).source.stamp).read_volatile() }
    }

    /// Writes a way, whose state is busy.
    #[inline(always)]
    pub(super) fn write(&self, index: usize, memory: u64, granule: u64, source: &Source) {
        // SAFETY: as above.
        let words = unsafe { mem::transmute::<Source, [u64; SOURCE_WORDS]>(*source) };
        let place = self.ways[index].get().cast::<u64>();
        // SAFETY: see `Sync`; a way consists of so many words.
        unsafe {
            place.write_volatile(memory);
            place.add(1).write_volatile(granule);
            let mut word = 0;
            while word < SOURCE_WORDS {
                place.add(WORDS_BEFORE_SOURCE + word).write_volatile(words[word]);
                word += 1;
            }
        }
    }

    /// Makes a way young again.
    #[inline(always)]
    pub(super) fn touch(&self, index: usize, stamp: u32) {
        // SAFETY: see `Sync`. Of a way that was filled anew meanwhile this changes only when it makes room.
        unsafe { (&raw mut (*self.ways[index].get()).source.stamp).write_volatile(stamp) };
    }

    /// Where intervals had to make room.
    #[inline(always)]
    pub fn forgotten(&self) -> Forgotten {
        // SAFETY: see `Sync`.
        unsafe { self.forgotten.get().read_volatile() }
    }

    /// What is read again is known again.
    #[inline(always)]
    pub(super) fn remember(&self, piece: &Piece) {
        let forgotten = self.forgotten();
        if forgotten.high != 0 && forgotten.is_within(piece) {
            // SAFETY: see `Sync`.
            unsafe { self.forgotten.get().write_volatile(Forgotten { high: 0, ..forgotten }) };
        }
    }

    #[inline(always)]
    pub(super) fn forget(&self, memory: u64, granule: u64, low: u64, high: u64) {
        let mut forgotten = self.forgotten();
        forgotten.add(memory, granule, low, high);
        // SAFETY: see `Sync`.
        unsafe { self.forgotten.get().write_volatile(forgotten) };
    }
}

/// Memory of one granule that was read into, and of which this is not known any more. A hint, written without
/// care for others: it only says when to doubt that a write has no partner.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// [`crate::thread::memory_id`] of the process.
    pub memory: u64,
    /// Address of the granule's first byte.
    pub granule: u64,
    /// First byte.
    pub low: u64,
    /// One past the last byte; 0 when nothing was forgotten.
    pub high: u64,
}

impl Forgotten {
    /// In place of a process's memory: any, as more than one granule was forgotten here.
    const ANY: u64 = u64::MAX;

    #[inline(always)]
    pub(super) fn is_of(&self, piece: &Piece) -> bool {
        self.memory == piece.memory && self.granule == piece.granule
    }

    /// Whether some of `piece` may have been read into.
    #[inline(always)]
    pub fn overlaps(&self, piece: &Piece) -> bool {
        if self.high == 0 {
            return false;
        }
        let within = piece.low < self.high && self.low < piece.high;
        self.memory == Self::ANY || self.is_of(piece) && within
    }

    /// Adds memory.
    #[inline(always)]
    pub(super) fn add(&mut self, memory: u64, granule: u64, low: u64, high: u64) {
        if self.high == 0 {
            *self = Self { memory, granule, low, high };
        } else if self.memory == memory && self.granule == granule {
            self.low = if low < self.low { low } else { self.low };
            self.high = if high > self.high { high } else { self.high };
        } else {
            self.memory = Self::ANY;
        }
    }

    #[inline(always)]
    pub(super) fn is_within(&self, piece: &Piece) -> bool {
        self.is_of(piece) && piece.low <= self.low && self.high <= piece.high
    }
}

assert_layout!(Way, 56, [u64, u64, Source]);
assert_layout!(Forgotten, 32, [u64, u64, u64, u64]);
assert_layout!(Set<u64>, 544, [[u64; WAYS], [Way; WAYS], Forgotten]);
