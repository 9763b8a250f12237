//! Reports, held against the sends that they are about.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::{BPF_ANY, BPF_F_NO_PREALLOC, BPF_NOEXIST},
    helpers::generated::bpf_loop,
    macros::map,
    maps::{HashMap, LruHashMap},
};
use zc_common::{
    loss::Loss,
    maps::ROWS_DEFAULT,
    row::RowKey,
    zerocopy::{Reported, Send, SendKey},
};

use super::{PARTS, SENDS};
use crate::{
    kernel::fetch_add,
    maps::{SESSION, lose},
};

/// Reports on sends that have not ended: not zero when the kernel copied.
#[map]
static EARLY: LruHashMap<SendKey, u64> = LruHashMap::with_max_entries(4096, 0);

/// What was reported, by row.
#[map]
static REPORTED: HashMap<RowKey, Reported> = HashMap::with_max_entries(ROWS_DEFAULT, BPF_F_NO_PREALLOC);

/// Notes that parts of sends were kept, or taken out again.
#[inline(always)]
pub(super) fn count_waiting(number: u64) {
    if let Some(session) = SESSION.get_ptr_mut(0) {
        // SAFETY: map memory.
        fetch_add(unsafe { &raw mut (*session).sends_waiting }, number);
    }
}

/// Whether a report on the send came before its end; then it is counted now. A global function, as above.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn zc_look_for_early(sock: u64, number: u64, id: u64) -> u64 {
    let key = SendKey { sock, number, id: id as u32, part: 0 };
    let Some(early) = EARLY.get_ptr(&key) else { return 0 };
    // SAFETY: map memory.
    let copied = unsafe { *early };
    let _ = EARLY.remove(&key);
    zc_settle_send(sock, number, id, copied)
}

/// A report that is known to be about a send; `waiting` is the first send of the report in which it is, or
/// [`CERTAIN`] when its answer is sure to be the send's. A global function, as above.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn zc_reported(sock: u64, number: u64, id: u64, waiting: u64, copied: u64) -> u64 {
    let key = SendKey { sock, number, id: id as u32, part: 0 };
    if waiting != CERTAIN && waiting != id {
        let Some(send) = SENDS.get_ptr(&key) else { return 0 };
        // SAFETY: map memory.
        if u64::from(unsafe { (*send).first }) != waiting {
            // It may have been joined by a report that is still to be seen here.
            return 0;
        }
    }
    if zc_settle_send(sock, number, id, copied) != 0 {
        return 1;
    }
    let _ = EARLY.insert(&key, &copied, u64::from(BPF_ANY));
    // Its call may have ended meanwhile.
    if SENDS.get_ptr(&key).is_some() {
        return zc_look_for_early(sock, number, id);
    }
    0
}

/// No send has this number and more bits.
pub(crate) const CERTAIN: u64 = u64::MAX;

/// Counts a send as copied or not, if it is still there; 1 when it was. A global function, as above.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn zc_settle_send(sock: u64, number: u64, id: u64, copied: u64) -> u64 {
    let key = SendKey { sock, number, id: id as u32, part: 0 };
    let mut settled = Settled { key, copied, count: 0 };
    // SAFETY: `settle_part` has the signature of a callback, and `settled` outlives the loop.
    unsafe { bpf_loop(PARTS as u32, settle_part as *mut c_void, (&raw mut settled).cast(), 0) };
    u64::from(settled.count != 0)
}

/// A send that was reported on.
#[repr(C)]
struct Settled {
    key: SendKey,
    copied: u64,
    /// Parts that were counted.
    count: u64,
}

/// Counts one part of it; not 0 when it was the last, or is counted by somebody else.
#[inline(never)]
extern "C" fn settle_part(index: u32, settled: *mut Settled) -> i64 {
    // SAFETY: `zc_settle_send` passes its own.
    let settled = unsafe { &mut *settled };
    settled.key.part = index;
    let Some(send) = SENDS.get_ptr(&settled.key) else { return 1 };
    // SAFETY: map memory; a value is never changed.
    let Send { row, bytes, parts, .. } = unsafe { *send };
    if SENDS.remove(&settled.key).is_err() {
        return 1;
    }
    count_waiting(u64::MAX);
    add(&row, bytes, settled.copied);
    settled.count += 1;
    i64::from(index + 1 >= parts)
}

/// What a row begins with.
static EMPTY: Reported = Reported { copied: 0, by_reference: 0 };

#[inline(always)]
fn add(row: &RowKey, bytes: u64, copied: u64) {
    if REPORTED.get_ptr(row).is_none() {
        let _ = REPORTED.insert(row, &EMPTY, u64::from(BPF_NOEXIST));
    }
    let Some(reported) = REPORTED.get_ptr_mut(row) else {
        lose(Loss::ZerocopyUnmatched);
        return;
    };
    // SAFETY: map memory.
    let sum =
        unsafe { if copied != 0 { &raw mut (*reported).copied } else { &raw mut (*reported).by_reference } };
    fetch_add(sum, bytes);
}
