//! Looking up a `vm_area_struct` by an address, in the tree that the kernel keeps of them (`mm_struct.mm_mt`, since Linux
//! 6.1).
//!
//! The kernel reads this tree without a lock, too (`lock_vma_under_rcu`): nodes are not changed but replaced while others
//! may look at them, one that was replaced names itself as its parent (`ma_dead_node`), and its memory stays until readers
//! are done. `bpf_find_vma` takes the lock, or rather fails where another thread has it, and keeps it where interrupts are
//! off, as they are when a page fault begins.

use core::ffi::c_void;

use aya_ebpf::{helpers::generated::bpf_loop, macros::map, maps::PerCpuArray};
use zc_common::thread::Thread;

use crate::kernel::{global, probe, probe_at};

/// What is mapped around an address.
#[repr(C)]
pub(super) struct Area {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) flags: u64,
    /// `struct file`; 0 when none is mapped.
    pub(super) file: u64,
    /// `anon_vma`: not 0 once a page of a private mapping was changed.
    pub(super) changed_pages: u64,
}

/// The stack has no room for it below all that asks for mappings; programs that do are not preempted.
#[map]
static AREA: PerCpuArray<Area> = PerCpuArray::with_max_entries(1, 0);

/// What was found last.
#[inline(always)]
pub(super) fn found() -> Option<&'static Area> {
    // SAFETY: this CPU's.
    AREA.get_ptr(0).map(|area| unsafe { &*area })
}

/// Looks for what is mapped at `address`; 0 when there is nothing, or it changes all the time. A global function: the
/// verifier looks at it once.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn zc_find_area(thread: *mut Thread, address: u64) -> u64 {
    /// How often to look when it changes while it is looked at.
    const TRIES: u32 = 16;
    if thread.is_null() {
        return 0;
    }
    // SAFETY: map memory, only this thread's.
    let mm = unsafe { (&raw const (*thread).mm).read_volatile() };
    let mut search = Search { address, mm, entry: 0, is_found: 0 };
    // SAFETY: `look` has the signature of a callback, and `search` outlives the loop.
    unsafe { bpf_loop(TRIES, look as *mut c_void, (&raw mut search).cast(), 0) };
    search.is_found
}

/// A look at the tree.
#[repr(C)]
struct Search {
    address: u64,
    mm: u64,
    /// Where it has come to: a node and its kind, or what is mapped.
    entry: u64,
    is_found: u64,
}

/// The lowest bits of an entry that is a node say what kind it is; what is no node is no kernel address.
const NODE_BITS: u64 = 0xFF;
/// `enum maple_type`, and where it is in an entry (`mte_node_type`).
const LEAF: u64 = 1;
const RANGE: u64 = 2;
const ALLOCATION_RANGE: u64 = 3;

/// In place of an entry, where the tree changes; 0 is what stands where nothing is mapped.
const CHANGED: u64 = 1;

/// Looks once; ends the loop when the same was there at the beginning and at the end.
#[inline(never)]
extern "C" fn look(_index: u32, search: *mut Search) -> i64 {
    // SAFETY: `zc_find_area` passes its own.
    let search = unsafe { &mut *search };
    let Some(area) = descend(search) else { return i64::from(search.entry == 0) };
    let Some(place) = AREA.get_ptr_mut(0) else { return 1 };
    let read = || -> Option<Area> {
        Some(Area {
            start: probe!(area, vma_vm_start)?,
            end: probe!(area, vma_vm_end)?,
            flags: probe!(area, vma_vm_flags)?,
            file: probe!(area, vma_vm_file)?,
            changed_pages: probe!(area, vma_anon_vma)?,
        })
    };
    let Some(read) = read() else { return 0 };
    let is_there = read.start <= search.address && search.address < read.end;
    // SAFETY: this CPU's.
    unsafe { *place = read };
    // Its memory may have become another's since.
    if is_there && descend(search) == Some(area) {
        search.is_found = 1;
        return 1;
    }
    0
}

/// Goes down the tree to what is mapped at the address.
#[inline(always)]
fn descend(search: &mut Search) -> Option<u64> {
    /// More than there can be.
    const LEVELS: u32 = 12;
    search.entry = probe_at(search.mm + u64::from(global!(OFFSETS.mm_mt_root)))?;
    // SAFETY: `step` has the signature of a callback, and `search` outlives the loop.
    unsafe { bpf_loop(LEVELS, step as *mut c_void, (&raw mut *search).cast(), 0) };
    // SAFETY: changed by the loop.
    let entry = unsafe { (&raw const search.entry).read_volatile() };
    search.entry = entry;
    // A kernel address without marks.
    ((entry as i64) < 0 && entry.is_multiple_of(4)).then_some(entry)
}

/// Goes down one level.
#[inline(never)]
extern "C" fn step(_index: u32, search: *mut Search) -> i64 {
    // SAFETY: `descend` passes its own.
    let search = unsafe { &mut *search };
    let (node, kind) = (search.entry & !NODE_BITS, search.entry >> 3 & 15);
    let is_node = (node as i64) < 0;
    search.entry = CHANGED;
    if !is_node || !matches!(kind, LEAF | RANGE | ALLOCATION_RANGE) {
        return 1;
    }
    let is_wide = kind != ALLOCATION_RANGE;
    let (pivots, slots, last) = if is_wide {
        (global!(OFFSETS.node_range_pivot), global!(OFFSETS.node_range_slot), 15)
    } else {
        (global!(OFFSETS.node_allocation_pivot), global!(OFFSETS.node_allocation_slot), 9)
    };
    let mut slot = 0;
    while slot < last {
        // The last address of the slot. The last slot that is in use may have none: then it goes on to the node's end.
        let Some(pivot) = probe_at::<u64>(node + u64::from(pivots) + slot * 8) else { return 1 };
        if pivot >= search.address || pivot == 0 && slot != 0 {
            break;
        }
        slot += 1;
    }
    let Some(entry) = probe_at::<u64>(node + u64::from(slots) + slot * 8) else { return 1 };
    let Some(parent) = probe_at::<u64>(node) else { return 1 };
    if parent & !NODE_BITS == node {
        return 1;
    }
    search.entry = entry;
    i64::from(kind == LEAF)
}
