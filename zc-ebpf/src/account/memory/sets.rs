//! The sets of intervals, in a map.

use core::cell::UnsafeCell;

use aya_ebpf::{macros::map, maps::Array};
use zc_common::{
    maps::PAIR_SETS_DEFAULT,
    pair::{self, Piece, Set, Source, WAYS, Word},
};

use crate::{
    kernel::{global, swap_if},
    maps::is_traced,
};

/// A word of a set, in map memory.
#[repr(transparent)]
pub(super) struct MapWord(UnsafeCell<u64>);

// SAFETY: other CPUs see volatile accesses and atomic swaps.
unsafe impl Sync for MapWord {}

impl Word for MapWord {
    #[inline(always)]
    fn load(&self) -> u64 {
        // SAFETY: map memory.
        unsafe { self.0.get().read_volatile() }
    }
    #[inline(always)]
    fn store(&self, value: u64) {
        // SAFETY: map memory.
        unsafe { self.0.get().write_volatile(value) };
    }
    #[inline(always)]
    fn swap_if(&self, old: u64, new: u64) -> bool {
        swap_if(self.0.get(), old, new)
    }
    #[inline(always)]
    fn is_alive(memory: u64) -> bool {
        is_traced((memory >> 32) as u32)
    }
    #[inline(always)]
    fn fill_free(set: &Set<Self>, piece: &Piece, source: &Source) -> bool {
        zc_fill_free(set, piece, source) != 0
    }
    #[inline(always)]
    fn make_room(set: &Set<Self>, piece: &Piece, source: &Source) {
        zc_make_room(set, piece, source);
    }
    #[inline(always)]
    fn overwrite(set: &Set<Self>, index: usize, piece: &Piece) {
        zc_overwrite(set, index as u64, piece);
    }
}

/// A global function: the verifier looks at it once, and not again at each call.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn zc_fill_free(set: *const Set<MapWord>, piece: *const Piece, source: *const Source) -> u64 {
    if set.is_null() || piece.is_null() || source.is_null() {
        return 0;
    }
    // SAFETY: the only caller passes references.
    unsafe { u64::from(pair::fill_free(&*set, &*piece, &*source)) }
}

/// As above.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn zc_make_room(set: *const Set<MapWord>, piece: *const Piece, source: *const Source) -> u64 {
    if set.is_null() || piece.is_null() || source.is_null() {
        return 0;
    }
    // SAFETY: the only caller passes references.
    unsafe { pair::make_room(&*set, &*piece, &*source) };
    1
}

/// As above.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn zc_overwrite(set: *const Set<MapWord>, index: u64, piece: *const Piece) -> u64 {
    if set.is_null() || piece.is_null() {
        return 0;
    }
    // SAFETY: the only caller passes references.
    unsafe { pair::overwrite(&*set, index as usize & (WAYS - 1), &*piece) };
    1
}

/// Memory that was read into and not yet written from.
#[map]
static PAIRS: Array<Set<MapWord>> = Array::with_max_entries(PAIR_SETS_DEFAULT, 0);

#[inline(always)]
pub(super) fn set_of(piece: &Piece) -> Option<&'static Set<MapWord>> {
    PAIRS.get(piece.set_index(global!(CONFIG.pair_set_mask)))
}
