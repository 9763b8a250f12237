//! Adding to rows.

use aya_ebpf::{
    bindings::{BPF_ANY, BPF_NOEXIST},
    macros::map,
    maps::LruHashMap,
};
use zc_common::{
    loss::Loss,
    maps::FLOWS_DEFAULT,
    path::{Path, sends_plainly},
    row::{Costs, DIRECT_DESTINATION, DIRECT_SOURCE, RowKey, RowValue, SPECIAL, VALUE_COPY_UNSEEN},
    thread::{RECENT, Recent, Thread},
};

use crate::{
    account::{transmission, zerocopy},
    hooks::bounce,
    kernel::{Typed, fetch_add, global, typed},
    maps::{PROCESSES, ROWS, epoch, lose},
    thread::CallCosts,
};

/// What a row begins with; too large for the stack.
static EMPTY: RowValue = RowValue::NONE;

/// Something to add to a row.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    /// Which row. Comes back with the ends unnamed when the process has used up its flows.
    pub(crate) key: RowKey,
    pub(crate) bytes: u64,
    /// Bytes that are known to have been copied, where path and kinds do not say it.
    pub(crate) copied: u64,
    /// Bytes that are known to have been handed on by reference.
    pub(crate) by_reference: u64,
    /// 1 when the call is counted here.
    pub(crate) calls: u32,
    /// How many reads come with the bytes.
    pub(crate) taken_calls: u32,
    pub(crate) own: CallCosts,
    pub(crate) taken: CallCosts,
}

impl Entry {
    /// A call that moved `bytes`.
    #[inline(always)]
    pub(crate) fn new(key: RowKey, bytes: u64, own: CallCosts) -> Self {
        Self { key, bytes, copied: 0, by_reference: 0, calls: 1, taken_calls: 0, own, taken: CallCosts::NONE }
    }
}

/// The part of a key that names the thread.
#[inline(always)]
pub(crate) fn key(thread: *mut Thread, task: Typed) -> RowKey {
    RowKey {
        // SAFETY: map memory, only this thread's.
        thread_start_ns: unsafe { (*thread).start_ns },
        tid: typed!(task, task_pid),
        path: 0,
        source_kind: 0,
        destination_kind: 0,
        flags: 0,
        source: 0,
        destination: 0,
        through: 0,
        reserved: 0,
    }
}

/// The place of a path among a thread's recent rows.
#[inline(always)]
fn recent_of(thread: *mut Thread, path: u8) -> &'static mut Recent {
    const READ: u8 = Path::Read as u8;
    const WRITE: u8 = Path::Write as u8;
    const READ_WRITE: u8 = Path::ReadWrite as u8;
    let index = match path {
        READ => 0,
        WRITE => 1,
        READ_WRITE => 2,
        _ => 3,
    };
    // SAFETY: map memory, only this thread's.
    unsafe { &mut (*thread).recent[index] }
}

/// Adds `entry`; false when it found no room, which is counted as lost.
#[inline(always)]
pub(crate) fn add(thread: *mut Thread, entry: &mut Entry) -> bool {
    let on_connection = sends_plainly(entry.key.destination_kind);
    let recent = recent_of(thread, entry.key.path);
    let same = recent.what == what(&entry.key)
        && recent.source == entry.key.source
        && recent.destination == entry.key.destination
        && recent.through == entry.key.through;
    // Below the limit, so that 32 bits are enough for what waits here.
    let plain = entry.own.is_zero() && entry.taken.is_zero() && entry.copied | entry.by_reference == 0;
    if same && recent.calls < CALLS_MAX && plain {
        recent.bytes += entry.bytes;
        recent.transfers += u32::from(entry.bytes > 0);
        recent.calls += entry.calls;
        recent.taken_calls += entry.taken_calls;
        if on_connection {
            transmission::zc_note_sent(thread, entry);
        }
        return true;
    }
    let added = zc_row_add(thread, entry) != 0;
    if added && on_connection {
        transmission::zc_note_sent(thread, entry);
    }
    added
}

/// Says of the row of a path that was added to last that not all of its copies were seen.
#[inline(always)]
pub(crate) fn mark_unseen(thread: *mut Thread, path: Path) {
    recent_of(thread, path as u8).flags |= VALUE_COPY_UNSEEN;
}

const CALLS_MAX: u32 = 1 << 30;

#[inline(always)]
fn what(key: &RowKey) -> u32 {
    u32::from_ne_bytes([key.path, key.source_kind, key.destination_kind, key.flags])
}

/// Moves what waits in `recent` to its row.
#[inline(always)]
fn settle(thread: *mut Thread, tid: u32, recent: &mut Recent) {
    // SAFETY: map memory, only this thread's.
    let Some((key, pending)) = recent.pending(unsafe { &*thread }, tid) else { return };
    recent.bytes = 0;
    recent.transfers = 0;
    recent.calls = 0;
    recent.taken_calls = 0;
    recent.flags = 0;
    let Some(row) = ROWS.get_ptr_mut(&key) else {
        // The row was there when the thread began to keep it at hand, and only its end takes it away.
        lose(Loss::RowsFull);
        return;
    };
    // SAFETY: map memory, only this thread's.
    unsafe {
        (*row).flags |= pending.flags;
        (*row).bytes += pending.bytes;
        (*row).transfers += pending.transfers;
        (*row).own.calls += pending.own.calls;
        (*row).taken.calls += pending.taken.calls;
    }
}

/// Moves everything that waits to its rows.
#[inline(always)]
pub(crate) fn settle_all(thread: *mut Thread, tid: u32) {
    let mut index = 0;
    while index < RECENT {
        // SAFETY: map memory, only this thread's.
        let recent = unsafe { &mut (*thread).recent[index] };
        settle(thread, tid, recent);
        index += 1;
    }
}

/// Moves everything that waits to its rows, and keeps none of them at hand.
#[inline(always)]
pub(crate) fn settle_and_drop_all(thread: *mut Thread, tid: u32) {
    settle_all(thread, tid);
    // SAFETY: map memory, only this thread's.
    unsafe { (*thread).recent = [Recent::NONE; RECENT] };
}

/// A global function: the verifier looks at it once, and not again at each call.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn zc_row_add(thread: *mut Thread, entry: *mut Entry) -> u64 {
    if thread.is_null() || entry.is_null() {
        return 0;
    }
    // SAFETY: the only caller passes a reference.
    let entry = unsafe { &mut *entry };
    // On the stack: before Linux 6.3 or so, no key may be in memory that a global function was given.
    let mut key = entry.key;
    let Some(row) = ROWS.get_ptr_mut(&key).or_else(|| create(thread, &mut key)) else {
        lose(Loss::RowsFull);
        return 0;
    };
    entry.key = key;
    // SAFETY: map memory, only this thread's.
    unsafe {
        let row = &mut *row;
        row.bytes += entry.bytes;
        row.copied += entry.copied;
        row.by_reference += entry.by_reference;
        row.transfers += u64::from(entry.bytes > 0);
        row.own.calls += u64::from(entry.calls);
        if entry.own.by_device != 0 {
            if is_direct(&entry.key) {
                row.by_reference += if bounce::is_found_since(thread) { 0 } else { entry.bytes };
            } else if entry.key.path == Path::SendZerocopy as u8 {
                zerocopy::note(thread, &entry.key, entry.bytes);
            }
        }
        if !entry.own.is_zero() {
            add_costs(&mut row.own, &entry.own);
        }
        if entry.taken_calls != 0 {
            row.taken.calls += u64::from(entry.taken_calls);
            add_costs(&mut row.taken, &entry.taken);
        }
    }
    let recent = recent_of(thread, entry.key.path);
    settle(thread, entry.key.tid, recent);
    recent.what = what(&entry.key);
    recent.source = entry.key.source;
    recent.destination = entry.key.destination;
    recent.through = entry.key.through;
    1
}

/// Whether the row's own calls, those that put bytes into memory or send them from there, are at an end that is open
/// with `O_DIRECT`; of sendfile, the source.
#[inline(always)]
fn is_direct(key: &RowKey) -> bool {
    let from = key.path == Path::Read as u8 || key.path == Path::Sendfile as u8;
    let flag = if from { DIRECT_SOURCE } else { DIRECT_DESTINATION };
    key.flags & flag != 0
}

#[inline(always)]
fn add_costs(sum: &mut Costs, costs: &CallCosts) {
    let CallCosts { voluntary, involuntary, minor, major, device_read_bytes, by_device: _ } = *costs;
    sum.voluntary += u64::from(voluntary);
    sum.involuntary += u64::from(involuntary);
    sum.minor += u64::from(minor);
    sum.major += u64::from(major);
    sum.device_read_bytes += u64::from(device_read_bytes);
}

#[inline(always)]
fn create(thread: *mut Thread, key: &mut RowKey) -> Option<*mut RowValue> {
    // SAFETY: map memory, only this thread's.
    let tgid = unsafe { (*thread).tgid };
    // SAFETY: map memory, only this thread's.
    let process_start_ns = unsafe { (*thread).process_start_ns };
    let flow =
        Flow { process_start_ns, tgid, what: what(key), source: key.source, destination: key.destination };
    if key.source | key.destination != 0 && !may_name(&flow) {
        lose(Loss::FlowsOverflow);
        // A row that takes from legs keeps what these are found by; there are no more of those than there are legs.
        if !takes_from_leg(key) {
            key.source = 0;
        }
        if key.through == 0 || key.flags & SPECIAL == 0 {
            key.destination = 0;
        }
        if let Some(row) = ROWS.get_ptr_mut(&*key) {
            return Some(row);
        }
    }
    ROWS.insert(&*key, &EMPTY, u64::from(BPF_NOEXIST)).ok()?;
    let row = ROWS.get_ptr_mut(&*key)?;
    // SAFETY: as above.
    unsafe {
        (*row).next = (*thread).rows;
        (*row).tgid = tgid;
        (*row).process_start_ns = process_start_ns;
        (*thread).rows = *key;
    }
    Some(row)
}

/// Whether user space takes the bytes of the row off a leg, that of the read or of the splice that they came by.
#[inline(always)]
fn takes_from_leg(key: &RowKey) -> bool {
    key.path == Path::ReadWrite as u8 || key.path == Path::SendZerocopy as u8 || key.through != 0
}

/// A flow of a process, whichever thread it is of.
#[repr(C)]
#[derive(Clone, Copy)]
struct Flow {
    process_start_ns: u64,
    tgid: u32,
    what: u32,
    source: u32,
    destination: u32,
}

/// Flows that have a name. Those that were not used for long may be forgotten, and then count once more.
#[map]
static FLOWS: LruHashMap<Flow, u64> = LruHashMap::with_max_entries(8 * FLOWS_DEFAULT, 0);

/// The count in [`crate::maps::Process::flows`].
const COUNT: u64 = 0xFFFF_FFFF;

/// Whether a count of flows is of the time since rows were asked for last.
#[inline(always)]
fn is_of_epoch(flows: u64) -> bool {
    flows >> 32 == epoch() & COUNT
}

/// Whether the flow has a name, or its process one to give.
#[inline(always)]
fn may_name(flow: &Flow) -> bool {
    if FLOWS.get_ptr(flow).is_some() {
        return true;
    }
    let Some(process) = PROCESSES.get_ptr_mut(flow.tgid) else { return false };
    // SAFETY: map memory.
    let flows = unsafe { &raw mut (*process).flows };
    // SAFETY: as above.
    if !is_of_epoch(unsafe { *flows }) {
        // Another thread may do the same, and a few flows count for nothing.
        // SAFETY: as above.
        unsafe { *flows = epoch() << 32 };
    }
    if fetch_add(flows, 1) & COUNT >= u64::from(global!(CONFIG.flows_max)) {
        return false;
    }
    // Without room it will count again.
    let _ = FLOWS.insert(flow, 1, u64::from(BPF_ANY));
    true
}

/// Whether the process has several threads.
#[inline(always)]
pub(crate) fn has_threads(tgid: u32) -> bool {
    // SAFETY: map memory.
    PROCESSES.get_ptr(tgid).is_some_and(|process| unsafe { (*process).threads } > 1)
}

/// Whether the process may still name flows.
#[inline(always)]
pub(crate) fn has_flows_left(tgid: u32) -> bool {
    match PROCESSES.get_ptr(tgid) {
        Some(process) => {
            // SAFETY: map memory.
            let flows = unsafe { (*process).flows };
            !is_of_epoch(flows) || flows & COUNT < u64::from(global!(CONFIG.flows_max))
        }
        None => false,
    }
}
