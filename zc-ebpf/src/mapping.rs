//! What is mapped where in the memory of the running process.
//!
//! Most bytes that a process writes come from memory that it has seen before, and most page faults are there, so that a
//! thread remembers the ranges that it saw last. They hold until a call changes what is mapped in them. The last changes of
//! a process are remembered, too: one elsewhere, as of another thread's stack, leaves a range as it is.

mod area;

use aya_ebpf::{macros::map, maps::Array};
use zc_common::{
    fault::PAGE,
    mapping::{
        CHANGES, Change, MAPPING_BACKED, MAPPING_FILE, MAPPING_SHARED, MAPPING_WRITABLE, MAPPINGS, Mapping,
    },
    path::Kind,
    thread::Thread,
};

use self::area::zc_find_area;
use crate::{
    kernel::{current, fetch_add, probe, probe_at},
    object, thread,
};

/// How many processes have changes of their own; a power of two. Those that share them only look more often.
const PROCESSES_MAX: u32 = 1024;

/// Changes of the mappings of a process.
#[repr(C)]
struct Changes {
    /// How many there were: the generation of its mappings.
    count: u64,
    /// The last ones.
    last: [Change; CHANGES],
}

/// Changes, by `mm_struct`. An array, as a look at it is a few instructions.
#[map]
static ALL_CHANGES: Array<Changes> = Array::with_max_entries(PROCESSES_MAX, 0);

#[inline(always)]
fn changes(thread: *mut Thread) -> Option<*mut Changes> {
    // Kept in the thread's state, where it is a number: on a pointer the verifier allows no such arithmetic.
    // SAFETY: map memory, only this thread's.
    let mm = unsafe { (&raw const (*thread).mm).read_volatile() };
    ALL_CHANGES.get_ptr_mut((mm >> 7) as u32 & (PROCESSES_MAX - 1))
}

#[inline(always)]
fn generation(thread: *mut Thread) -> Option<u64> {
    // SAFETY: map memory.
    changes(thread).map(|changes| unsafe { (&raw const (*changes).count).read_volatile() })
}

/// A call has changed what is mapped in `len` bytes at `start`, or their protection. Says how many changes were before.
#[inline(always)]
pub(crate) fn changed(thread: *mut Thread, start: u64, len: u64, unmaps: bool) -> Option<u64> {
    let changes = changes(thread)?;
    // SAFETY: map memory. Whoever reads the change compares its number before and after.
    unsafe {
        let number = fetch_add(&raw mut (*changes).count, 1);
        let change = &raw mut (*changes).last[number as usize & (CHANGES - 1)];
        (&raw mut (*change).number).write_volatile(0);
        (&raw mut (*change).start).write_volatile(start);
        (&raw mut (*change).end)
            .write_volatile(start.saturating_add(len).saturating_add(PAGE - 1) & !(PAGE - 1));
        (&raw mut (*change).unmaps).write_volatile(u64::from(unmaps));
        (&raw mut (*change).number).write_volatile(number + 1);
        Some(number)
    }
}

/// The thread has taken memory away itself: what is left of the ranges that it knows is as it was. C libraries map more than
/// they need, and cut off what is not aligned.
#[inline(always)]
pub(crate) fn unmapped(thread: *mut Thread, start: u64, len: u64) {
    let Some(before) = changed(thread, start, len, true) else { return };
    let end = start.saturating_add(len).saturating_add(PAGE - 1) & !(PAGE - 1);
    let mut slot = 0;
    while slot < MAPPINGS {
        // SAFETY: map memory, only this thread's.
        let known = unsafe { &mut (*thread).mappings[slot] };
        if known.generation == before && known.end != 0 {
            if start <= known.start && end > known.start {
                known.start = if end < known.end { end } else { known.end };
            } else if start < known.end && end >= known.end {
                known.end = start;
            }
            if end <= known.start || known.end <= start {
                known.generation = before + 1;
            }
        }
        slot += 1;
    }
}

/// Anything may have changed.
#[inline(always)]
pub(crate) fn all_changed(thread: *mut Thread) {
    changed(thread, 0, u64::MAX - PAGE, true);
}

/// Whether no change since has touched the range.
#[inline(always)]
fn still_holds(changes: *const Changes, mapping: &Mapping, generation: u64) -> bool {
    let since = generation - mapping.generation;
    if since > CHANGES as u64 {
        return false;
    }
    let mut index = 0;
    while index < CHANGES as u64 {
        if index >= since {
            break;
        }
        let number = mapping.generation + index;
        // SAFETY: map memory.
        unsafe {
            let change = &raw const (*changes).last[number as usize & (CHANGES - 1)];
            let copy = change.read_volatile();
            let after = (&raw const (*change).number).read_volatile();
            if copy.number != number + 1 || after != number + 1 || !copy.spares(mapping) {
                return false;
            }
        }
        index += 1;
    }
    true
}

/// Where a thread remembers a range: the last one without a file, the last one of a file, and the one before each.
const MEMORY: usize = 0;
const FILE: usize = 1;
const BEFORE: usize = 2;

/// Whether the thread knows all these bytes to be no file's.
#[inline(always)]
pub(crate) fn is_memory(thread: *mut Thread, address: u64, bytes: u64) -> bool {
    is_known(thread, MEMORY, address, bytes).is_some()
}

/// The file that the thread knows all these bytes to be of, when no call can have read into them.
#[inline(always)]
pub(crate) fn untouched_file(thread: *mut Thread, address: u64, bytes: u64) -> Option<&'static Mapping> {
    is_known(thread, FILE, address, bytes).filter(|mapping| mapping.is_untouched_file())
}

#[inline(always)]
fn is_known(thread: *mut Thread, slot: usize, address: u64, bytes: u64) -> Option<&'static Mapping> {
    // SAFETY: map memory, only this thread's.
    let mapping = unsafe { &(*thread).mappings[slot] };
    if !mapping.has_all(address, bytes) {
        return None;
    }
    (generation(thread)? == mapping.generation).then_some(mapping)
}

/// Finds the range that `address` is in; 0 when the mappings cannot be looked at. Then it is memory, all of it. A global
/// function: the verifier looks at it once, and not again at each call.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn zc_find_mapping(address: u64, found: *mut Mapping) -> u64 {
    if found.is_null() {
        return 0;
    }
    // SAFETY: callers pass references.
    let found = unsafe { &mut *found };
    let task = current();
    *found = Mapping::ANY_MEMORY;
    let Some(thread) = thread::find(task) else { return 0 };
    // Read before the look, so that a change during it is seen.
    let Some(generation) = generation(thread) else { return 0 };
    if zc_known_mapping(thread, address, generation, found) != 0 {
        return 1;
    }
    if zc_find_area(thread, address) == 0 || zc_describe(thread, generation, found) == 0 {
        return 0;
    }
    remember(thread, found);
    1
}

/// The range that the thread knows `address` to be in. As above.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn zc_known_mapping(
    thread: *mut Thread,
    address: u64,
    generation: u64,
    found: *mut Mapping,
) -> u64 {
    if thread.is_null() || found.is_null() {
        return 0;
    }
    let Some(changes) = changes(thread) else { return 0 };
    let mut slot = 0;
    while slot < MAPPINGS {
        // SAFETY: map memory, only this thread's.
        let known = unsafe { &mut (*thread).mappings[slot] };
        if known.has(address) && still_holds(changes, known, generation) {
            known.generation = generation;
            // SAFETY: callers pass references.
            unsafe { *found = *known };
            if slot >= BEFORE {
                // SAFETY: as above.
                unsafe { (*thread).mappings.swap(slot, slot - BEFORE) };
            }
            return 1;
        }
        slot += 1;
    }
    0
}

/// A call has mapped anonymous memory.
#[inline(always)]
pub(crate) fn note_memory(thread: *mut Thread, start: u64, len: u64) {
    let Some(generation) = generation(thread) else { return };
    remember(thread, &Mapping { start, end: start + len, generation, ..Mapping::NONE });
}

#[inline(always)]
fn remember(thread: *mut Thread, mapping: &Mapping) {
    let slot = if mapping.is_backed() { FILE } else { MEMORY };
    // SAFETY: map memory, only this thread's.
    unsafe {
        (*thread).mappings[slot + BEFORE] = (*thread).mappings[slot];
        (*thread).mappings[slot] = *mapping;
    }
}

/// What was found last, as a mapping. As above.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn zc_describe(thread: *mut Thread, generation: u64, found: *mut Mapping) -> u64 {
    const VM_WRITE: u64 = 2;
    const VM_MAYSHARE: u64 = 0x80;
    if thread.is_null() || found.is_null() {
        return 0;
    }
    let Some(area) = area::found() else { return 0 };
    // SAFETY: callers pass references.
    let found = unsafe { &mut *found };
    let mut mapping_flags = if area.flags & VM_WRITE == 0 { 0 } else { MAPPING_WRITABLE };
    // A private mapping has an `anon_vma` once a page of it was changed (`__vmf_anon_prepare`).
    let is_shared = area.flags & VM_MAYSHARE != 0;
    let is_as_in_file = is_shared || area.flags & VM_WRITE == 0 && area.changed_pages == 0;
    let mut object = 0;
    if area.file != 0 && !is_kernels_own(area.file) {
        let Some(file) = object::identify(area.file) else { return 0 };
        let Some((kind, id)) = object::resolve(thread, &file) else { return 0 };
        if kind == Kind::File as u8 {
            mapping_flags |= MAPPING_BACKED;
            mapping_flags |= if is_as_in_file { MAPPING_FILE } else { 0 };
            mapping_flags |= if is_shared { MAPPING_SHARED } else { 0 };
            object = id;
        }
    }
    *found = Mapping { start: area.start, end: area.end, generation, object, flags: mapping_flags };
    1
}

/// Whether the file is one that the kernel made to have something to map: shared anonymous memory (`dev/zero`),
/// System V shared memory, huge pages. They are in no directory (`alloc_file_pseudo`); so are the files of
/// `memfd_create`, which programs read and write.
#[inline(always)]
fn is_kernels_own(file: u64) -> bool {
    const MEMFD: u64 = u64::from_le_bytes(*b"memfd:\0\0");
    const MEMFD_MASK: u64 = 0xFFFF_FFFF_FFFF;
    let name = || -> Option<u64> {
        let entry: u64 = probe!(file, file_f_path_dentry)?;
        let parent: u64 = probe!(entry, dentry_d_parent)?;
        if parent != entry {
            return None;
        }
        let name: u64 = probe!(entry, dentry_d_name_name)?;
        // Names are followed by other memory (`d_shortname`), or are allocated in multiples of eight.
        probe_at(name)
    };
    name().is_some_and(|name| name & MEMFD_MASK != MEMFD)
}
