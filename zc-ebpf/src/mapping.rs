//! What is mapped where in the memory of the running process.
//!
//! Most bytes that a process writes come from memory that it has seen before, so that a thread remembers the ranges
//! that it wrote from last. They hold until a call takes memory away or puts something else in its place, which moves
//! the generation of the process's mappings.

use core::ffi::c_void;

use aya_ebpf::{
    helpers::generated::{bpf_find_vma, bpf_loop},
    macros::map,
    maps::Array,
};
use zc_common::{
    loss::Loss,
    mapping::{MAPPING_FILE, MAPPING_WRITABLE, MAPPINGS, Mapping},
    path::Kind,
    thread::Thread,
};

use crate::{
    kernel::{Typed, address_at, current, fetch_add, global, probe, probe_at, typed},
    maps::lose,
    object, thread,
};

/// How many generations there are; a power of two. Processes that share one only look more often.
const GENERATIONS_MAX: u32 = 4096;

/// Generations, by `mm_struct`. An array, as a look at it is a few instructions.
#[map]
static GENERATIONS: Array<u64> = Array::with_max_entries(GENERATIONS_MAX, 0);

#[inline(always)]
fn generation(thread: *mut Thread) -> Option<*mut u64> {
    // Kept in the thread's state, where it is a number: on a pointer the verifier allows no such arithmetic.
    // SAFETY: map memory, only this thread's.
    let mm = unsafe { (&raw const (*thread).mm).read_volatile() };
    GENERATIONS.get_ptr_mut((mm >> 7) as u32 & (GENERATIONS_MAX - 1))
}

/// A call has taken memory away from the process, or changed what is there.
#[inline(always)]
pub(crate) fn changed(thread: *mut Thread) {
    if let Some(generation) = generation(thread) {
        fetch_add(generation, 1);
    }
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
    // SAFETY: map memory.
    (unsafe { generation(thread)?.read_volatile() } == mapping.generation).then_some(mapping)
}

/// Finds the range that `address` is in. What cannot be found is memory, all of it. A global function: the verifier
/// looks at it once, and not again at each call.
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
    let Some(generation) = generation(thread) else { return 0 };
    // Read before the look, so that a change during it is seen.
    // SAFETY: map memory.
    let generation = unsafe { generation.read_volatile() };
    let mut slot = 0;
    while slot < MAPPINGS {
        // SAFETY: map memory, only this thread's.
        let known = unsafe { (*thread).mappings[slot] };
        if known.has(address) && known.generation == generation {
            *found = known;
            if slot >= BEFORE {
                // SAFETY: as above.
                unsafe { (*thread).mappings.swap(slot, slot - BEFORE) };
            }
            return 1;
        }
        slot += 1;
    }
    let Some(mapping) = look(thread, address, generation) else {
        lose(Loss::MappingsUnread);
        return 0;
    };
    *found = mapping;
    let slot = if mapping.is_file() { FILE } else { MEMORY };
    // SAFETY: map memory, only this thread's.
    unsafe {
        (*thread).mappings[slot + BEFORE] = (*thread).mappings[slot];
        (*thread).mappings[slot] = mapping;
    }
    1
}

/// What `bpf_find_vma` came to.
#[repr(C)]
struct Area {
    /// What is looked for.
    address: u64,
    start: u64,
    end: u64,
    flags: u64,
    file: u64,
    changed_pages: u64,
}

/// Reads a `vm_area_struct`, which the kernel has locked for that.
#[inline(never)]
extern "C" fn read_area(_task: Typed, vma: Typed, area: *mut Area) -> i64 {
    if vma.is_null() {
        return 0;
    }
    // SAFETY: `look` passes its own.
    unsafe {
        (*area).start = typed!(vma, vma_vm_start);
        (*area).end = typed!(vma, vma_vm_end);
        (*area).flags = typed!(vma, vma_vm_flags);
        (*area).file = address_at(vma, global!(OFFSETS.vma_vm_file));
        (*area).changed_pages = typed!(vma, vma_anon_vma);
    }
    0
}

/// How often to ask when the kernel's lock is taken. It is held for some microseconds by a thread that changes
/// mappings, and longer by one that has lost its CPU.
const TRIES: u32 = 128;

/// Asks the kernel; ends a `bpf_loop` with any answer but that its lock is taken.
#[inline(never)]
extern "C" fn ask(_index: u32, area: *mut Area) -> i64 {
    const EBUSY: i64 = 16;
    let task = current().cast_mut();
    // SAFETY: `read_area` has the signature of a callback, and `look` passes its own `area`.
    let status = unsafe {
        bpf_find_vma(task.cast(), (*area).address, read_area as *mut c_void, area.cast::<c_void>(), 0)
    };
    i64::from(status != -EBUSY)
}

/// Asks the kernel. `None` when its lock on the mappings stays taken, or there is nothing at `address` any more.
#[inline(always)]
fn look(thread: *mut Thread, address: u64, generation: u64) -> Option<Mapping> {
    const VM_WRITE: u64 = 2;
    const VM_MAYSHARE: u64 = 0x80;
    let mut area = Area { address, start: 0, end: 0, flags: 0, file: 0, changed_pages: 0 };
    // SAFETY: `ask` has the signature of a callback, and `area` outlives the loop.
    unsafe { bpf_loop(TRIES, ask as *mut c_void, (&raw mut area).cast::<c_void>(), 0) };
    let Area { start, end, flags, file, changed_pages, .. } = area;
    if end == 0 {
        return None;
    }
    let mut mapping = Mapping { start, end, generation, object: 0, flags: 0 };
    if flags & VM_WRITE != 0 {
        mapping.flags |= MAPPING_WRITABLE;
    }
    // A private mapping has an `anon_vma` once a page of it was changed (`__vmf_anon_prepare`).
    let is_as_in_file = flags & VM_MAYSHARE != 0 || flags & VM_WRITE == 0 && changed_pages == 0;
    if file != 0 && is_as_in_file && !is_kernels_own(file) {
        let file = object::identify(file)?;
        let (kind, object) = object::resolve(thread, &file)?;
        if kind == Kind::File as u8 {
            mapping.flags |= MAPPING_FILE;
            mapping.object = object;
        }
    }
    Some(mapping)
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
