//! Walking the user memory of a call, piece by piece, for the pairing of reads with writes.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::bpf_loop;
use zc_common::{
    loss::Loss,
    pair::{self, Piece, Set, Source, Taken, WAYS, Word},
    thread::Thread,
};

use crate::{
    kernel::{Typed, global, probe_user, swap_if, typed},
    maps::{PAIRS, lose},
    row::{self, Entry},
    thread::CallCosts,
};

/// How many pieces of one call are followed: 32 MiB of one buffer, or that many entries of a vector.
const PIECES_MAX: u32 = 1024;

/// A word of a set, in map memory.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct MapWord(u64);

impl Word for MapWord {
    #[inline(always)]
    fn load(&self) -> u64 {
        // SAFETY: valid and aligned, being a reference.
        unsafe { (&raw const self.0).read_volatile() }
    }
    #[inline(always)]
    fn store(&self, value: u64) {
        // SAFETY: map memory, which other CPUs change likewise; never a Rust reference elsewhere.
        unsafe { (&raw const self.0).cast_mut().write_volatile(value) };
    }
    #[inline(always)]
    fn swap_if(&self, old: u64, new: u64) -> bool {
        swap_if((&raw const self.0).cast_mut(), old, new)
    }
}

/// Where a walk through the memory of a call has come to.
struct Walk {
    /// Of the process.
    memory: u64,
    /// Next byte.
    address: u64,
    /// Bytes left in this buffer.
    left: u64,
    /// Bytes left in the call after this buffer.
    left_after: u64,
    /// Next entry of the vector, 0 without one.
    vector: u64,
    /// Bytes taken so far.
    taken: u64,
    /// What is put, or what was taken and is not yet in a row.
    source: Source,
    /// Bytes that are not yet in a row.
    pending: u64,
    /// Reads whose costs came with them.
    pending_calls: u32,
    /// Those costs.
    pending_costs: CallCosts,
    /// Where to count what is taken; null when putting.
    thread: *mut Thread,
    entry: *mut Entry,
}

impl Walk {
    #[inline(always)]
    fn new(thread: *mut Thread, registers: Typed, bytes: u64, vectored: bool, source: Source) -> Self {
        let address: u64 = typed!(registers, regs_arg1);
        let (left, left_after, vector) = if vectored { (0, bytes, address) } else { (bytes, 0, 0) };
        Self {
            // SAFETY: map memory, only this thread's.
            memory: unsafe { (*thread).memory },
            address,
            left,
            left_after,
            vector,
            taken: 0,
            source,
            pending: 0,
            pending_calls: 0,
            pending_costs: CallCosts::default(),
            thread,
            entry: core::ptr::null_mut(),
        }
    }

    /// The next piece; `None` when the call's bytes are used up, or its vector cannot be read.
    #[inline(always)]
    fn next(&mut self) -> Option<Piece> {
        if self.left == 0 {
            if self.left_after == 0 {
                return None;
            }
            let Some([base, len]) = probe_user::<[u64; 2]>(self.vector) else {
                lose(Loss::IovUnread);
                self.left_after = 0;
                return None;
            };
            self.vector += 16;
            self.address = base;
            self.left = if len < self.left_after { len } else { self.left_after };
            self.left_after -= self.left;
            if self.left == 0 {
                // An empty entry: an empty piece, which matches nothing.
                return Some(Piece { high: 0, low: 0, ..Piece::first(self.memory, base, 1) });
            }
        }
        let piece = Piece::first(self.memory, self.address, self.left);
        self.address += piece.len();
        self.left -= piece.len();
        Some(piece)
    }

    #[inline(always)]
    fn is_done(&self) -> bool {
        self.left | self.left_after == 0
    }
}

#[inline(always)]
fn set_of(piece: &Piece) -> Option<&'static mut Set<MapWord>> {
    let set = PAIRS.get_ptr_mut(piece.set_index(global!(CONFIG.pair_set_mask)))?;
    // SAFETY: map memory; `MapWord` is a `u64`, and only changed as `pair` says.
    Some(unsafe { &mut *set.cast() })
}

/// Remembers that the memory of a read call was filled from `source`.
#[inline(always)]
pub(super) fn put(thread: *mut Thread, registers: Typed, bytes: u64, vectored: bool, source: Source) {
    let mut walk = Walk::new(thread, registers, bytes, vectored, source);
    put_piece(0, &raw mut walk);
    if !walk.is_done() {
        run(put_piece, &mut walk);
    }
}

/// Takes the bytes of a write call from what reads have put into its memory, and counts them in rows made
/// from `entry`; returns how many.
#[inline(always)]
pub(super) fn take(thread: *mut Thread, registers: Typed, bytes: u64, vectored: bool, entry: &mut Entry) -> u64 {
    let mut walk = Walk::new(thread, registers, bytes, vectored, Source::default());
    walk.entry = &raw mut *entry;
    take_piece(0, &raw mut walk);
    if !walk.is_done() {
        run(take_piece, &mut walk);
    }
    flush(&raw mut walk);
    walk.taken
}

#[inline(always)]
fn run(step: extern "C" fn(u32, *mut Walk) -> i64, walk: &mut Walk) {
    // SAFETY: `step` has the signature of a callback, and `walk` outlives the loop.
    unsafe { bpf_loop(PIECES_MAX - 1, step as *mut c_void, (&raw mut *walk).cast(), 0) };
    if !walk.is_done() {
        lose(Loss::PairsTruncated);
    }
}

const CONTINUE: i64 = 0;
const STOP: i64 = 1;

#[inline(never)]
extern "C" fn put_piece(index: u32, walk: *mut Walk) -> i64 {
    // SAFETY: `put` passes its own.
    let walk = unsafe { &mut *walk };
    let Some(piece) = walk.next() else { return STOP };
    let Some(set) = set_of(&piece) else { return STOP };
    if piece.is_empty() {
        return CONTINUE;
    }
    if !pair::put(set, &piece, walk.source, index as usize) {
        lose(Loss::PairsEvicted);
    }
    // The costs of the read go with one piece only.
    walk.source.has_costs = 0;
    if walk.is_done() { STOP } else { CONTINUE }
}

#[inline(never)]
extern "C" fn take_piece(_index: u32, walk: *mut Walk) -> i64 {
    // SAFETY: `take` passes its own.
    let walk = unsafe { &mut *walk };
    let Some(piece) = walk.next() else { return STOP };
    let Some(set) = set_of(&piece) else { return STOP };
    let mut way = 0;
    while way < WAYS {
        let mut dropped = false;
        if let Some(taken) = pair::take(set, way, &piece, &mut dropped) {
            note(walk, taken);
        }
        if dropped {
            lose(Loss::PairsEvicted);
        }
        way += 1;
    }
    if walk.is_done() { STOP } else { CONTINUE }
}

/// Gathers what comes from the same source, so that a call adds to few rows.
#[inline(always)]
fn note(walk: &mut Walk, taken: Taken) {
    let Taken { bytes, source, with_costs } = taken;
    let same = walk.source.object == source.object
        && walk.source.kind == source.kind
        && walk.source.flags == source.flags;
    if walk.pending != 0 && !same {
        flush(walk);
    }
    walk.source = source;
    walk.pending += bytes;
    if with_costs {
        walk.pending_calls += 1;
        walk.pending_costs.voluntary += source.voluntary;
        walk.pending_costs.involuntary += source.involuntary;
        walk.pending_costs.minor += source.minor;
        walk.pending_costs.major += source.major;
    }
    walk.taken += bytes;
}

/// Adds what was gathered to its row.
#[inline(never)]
fn flush(walk: *mut Walk) -> u32 {
    // SAFETY: the walk of `take`, whose entry is there.
    let (walk, entry) = unsafe { (&mut *walk, &mut *(*walk).entry) };
    if walk.pending == 0 {
        return 0;
    }
    let destination_flags = entry.key.flags & zc_common::row::DIRECT_DESTINATION;
    entry.key.flags = walk.source.flags | destination_flags;
    entry.key.source_kind = walk.source.kind;
    entry.key.source = walk.source.object;
    entry.bytes = walk.pending;
    entry.taken_calls = walk.pending_calls;
    entry.taken = walk.pending_costs;
    walk.pending = 0;
    walk.pending_calls = 0;
    walk.pending_costs = CallCosts::default();
    let added = row::add(walk.thread, entry);
    // The call and its costs are counted once.
    entry.calls = 0;
    entry.own = CallCosts::default();
    added
}
