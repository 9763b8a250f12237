//! The maps. Sizes are defaults; user space sets them before the load.

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    helpers::generated::bpf_ringbuf_query,
    macros::map,
    maps::{Array, HashMap, PerCpuArray, RingBuf},
};
use zc_common::{
    loss::Loss,
    maps::{OBJECTS_DEFAULT, PID_LIMIT, RING_BYTES_DEFAULT, ROWS_DEFAULT, THREADS_DEFAULT},
    object::{ObjectKey, ObjectValue},
    row::{RowKey, RowValue},
    session::Session,
    thread::Thread,
};

use crate::kernel::{fetch_and, fetch_or, global};

/// A bit for each process id: who is traced. An array, so that a bystander pays a few instructions.
#[map]
pub(crate) static TRACED: Array<u64> = Array::with_max_entries(PID_LIMIT / 64, 0);

/// State of each traced thread. Not preallocated, like all hashes here: memory grows with what is traced.
#[map]
pub(crate) static THREADS: HashMap<u32, Thread> =
    HashMap::with_max_entries(THREADS_DEFAULT, BPF_F_NO_PREALLOC);

/// What was moved.
#[map]
pub(crate) static ROWS: HashMap<RowKey, RowValue> =
    HashMap::with_max_entries(ROWS_DEFAULT, BPF_F_NO_PREALLOC);

/// Files and sockets that have a name.
#[map]
pub(crate) static OBJECTS: HashMap<ObjectKey, ObjectValue> =
    HashMap::with_max_entries(OBJECTS_DEFAULT, BPF_F_NO_PREALLOC);

/// State of each traced process.
#[map]
pub(crate) static PROCESSES: HashMap<u32, Process> =
    HashMap::with_max_entries(THREADS_DEFAULT, BPF_F_NO_PREALLOC);

/// Discrete things that happened.
#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(RING_BYTES_DEFAULT, 0);

/// What was lost, by reason.
#[map]
pub(crate) static LOST: PerCpuArray<u64> = PerCpuArray::with_max_entries(Loss::ALL.len() as u32, 0);

/// Counters of the whole session.
#[map]
pub(crate) static SESSION: Array<Session> = Array::with_max_entries(1, 0);

/// How often user space has asked for rows; it alone writes it.
#[map]
pub(crate) static EPOCH: Array<u64> = Array::with_max_entries(1, 0);

/// The number of the time between two askings for rows.
#[inline(always)]
pub(crate) fn epoch() -> u64 {
    EPOCH.get(0).map_or(0, |epoch| *epoch)
}

/// Value of [`PROCESSES`], changed with atomic operations by the threads of the process.
#[repr(C)]
pub(crate) struct Process {
    /// Threads that have not ended.
    pub(crate) threads: u64,
    /// Named flows of this epoch; the epoch's number is in the upper half.
    pub(crate) flows: u64,
    /// Requests of Linux AIO that were submitted and not reaped.
    pub(crate) aio: u64,
    /// Not zero when it ran before it was traced: its threads are those that are marked as counted, and one more while
    /// they are being counted.
    pub(crate) attached: u64,
}

/// Whether a process is traced. Everything else here comes after this.
#[inline(always)]
pub(crate) fn is_traced(tgid: u32) -> bool {
    match TRACED.get(tgid >> 6) {
        Some(word) => word >> (tgid & 63) & 1 != 0,
        None => false,
    }
}

/// Begins or ends the tracing of a process.
#[inline(always)]
pub(crate) fn set_traced(tgid: u32, traced: bool) {
    if let Some(word) = TRACED.get_ptr_mut(tgid >> 6) {
        let bit = 1 << (tgid & 63);
        if traced {
            fetch_or(word, bit);
        } else {
            fetch_and(word, !bit);
        }
    }
}

/// Counts a loss.
#[inline(always)]
pub(crate) fn lose(loss: Loss) {
    lose_many(loss, 1);
}

/// Counts several losses of a kind.
#[inline(always)]
pub(crate) fn lose_many(loss: Loss, number: u64) {
    if let Some(count) = LOST.get_ptr_mut(loss as u32) {
        // SAFETY: the counter is this CPU's, and nothing that counts here interrupts itself.
        unsafe { *count += number };
    }
}

/// Whether the session has `flag` of [`zc_common::config`].
#[inline(always)]
pub(crate) fn has(flag: u32) -> bool {
    global!(CONFIG.flags) & flag != 0
}

/// How to submit a record: user space looks by itself several times a second, and is only woken when the
/// ring fills faster than that.
#[inline(always)]
pub(crate) fn wake_up() -> u64 {
    const BPF_RB_NO_WAKEUP: u64 = 1;
    const BPF_RB_FORCE_WAKEUP: u64 = 2;
    const BPF_RB_AVAIL_DATA: u64 = 0;
    // SAFETY: the map is a ring buffer.
    let waiting = unsafe { bpf_ringbuf_query((&raw const EVENTS).cast_mut().cast(), BPF_RB_AVAIL_DATA) };
    if waiting > global!(CONFIG.ring_bytes) / 4 { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP }
}
