//! Reading the page table of the running process. x86-64.
//!
//! Its levels are found through the kernel's mapping of all physical memory, which begins at a random place
//! (`kernel_randomize_memory`) that no type information tells. The first level of a process's table is at a known address
//! in there, and maps that very address too: the right beginning is the one from which a walk through the table comes
//! back to where it began, by an entry with the bits that the kernel
//! sets there and no others.

use core::ffi::c_void;

use aya_ebpf::{
    helpers::generated::{bpf_loop, bpf_probe_read_kernel},
    macros::map,
    maps::PerCpuArray,
};
use zc_common::{
    fault::{GROUP_PAGES, GROUPS, HUGE_PAGES, PAGE, WINDOW_EMPTY, WINDOW_HUGE, WINDOW_TABLE, Window},
    page_table::{self, ENTRY_FRAME, ENTRY_LEAF, ENTRY_PRESENT, Step, maps_itself},
};

use crate::{
    kernel::{Typed, current, pointer, probe_at},
    maps::SESSION,
};

const GIB: u64 = 1 << 30;
/// How many beginnings are tried: one for each GiB of memory.
const BEGINNINGS_MAX: u32 = 1 << 14;

/// [`page_table::descend`] through the kernel's memory.
#[inline(always)]
fn descend(root: u64, direct_map: u64, address: u64, lowest: u64) -> Option<Step> {
    page_table::descend(probe_at, root, direct_map, address, lowest)
}

struct Search {
    root: u64,
    direct_map: u64,
}

/// Looks once in a session for the kernel's mapping of physical memory, by a page table of the running process. A global function, so
/// that its stack is not its caller's.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn zc_find_direct_map(root: u64) -> u64 {
    let Some(session) = SESSION.get_ptr_mut(0) else { return 0 };
    // SAFETY: map memory.
    unsafe {
        if (*session).direct_map == 0 && root != 0 {
            let mut search = Search { root, direct_map: 0 };
            bpf_loop(BEGINNINGS_MAX, try_beginning as *mut c_void, (&raw mut search).cast(), 0);
            (*session).direct_map = search.direct_map;
        }
    }
    1
}

/// Whether physical memory begins `index` GiB below the table.
#[inline(never)]
extern "C" fn try_beginning(index: u32, search: *mut Search) -> i64 {
    // SAFETY: `zc_find_direct_map` passes its own.
    let search = unsafe { &mut *search };
    let direct_map = (search.root & !(GIB - 1)) - u64::from(index) * GIB;
    let Some(Step { entry, shift }) = descend(search.root, direct_map, search.root, 12) else { return 0 };
    if maps_itself(entry, shift, search.root, direct_map) {
        search.direct_map = direct_map;
        return 1;
    }
    0
}

/// Entries of a table, and what is made of them; the stack has no room for them. Programs on faults and on the ends of
/// calls are not preempted, and only read tables between faults.
#[repr(C)]
struct Table {
    entries: [u64; HUGE_PAGES as usize],
}

#[map]
static TABLE: PerCpuArray<Table> = PerCpuArray::with_max_entries(1, 0);

/// What the page table says of the page at `address`, and of all others in its window if they are asked for. A global
/// function: the verifier looks at it once.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn zc_window(root: u64, address: u64, others: u32, window: *mut Window) -> u64 {
    if window.is_null() {
        return 0;
    }
    // SAFETY: callers pass references.
    let window = unsafe { &mut *window };
    *window = Window::UNREAD;
    let mm: Typed = pointer!(current(), task_mm, mm_type);
    let Some(session) = SESSION.get_ptr(0) else { return 0 };
    // SAFETY: map memory.
    let direct_map = unsafe { (*session).direct_map };
    // A task that has given up its memory has no table any more.
    if mm.is_null() || root == 0 || direct_map == 0 {
        return 0;
    }
    let Some(Step { entry, shift }) = descend(root, direct_map, address, 21) else { return 0 };
    if entry & ENTRY_PRESENT == 0 {
        window.state = WINDOW_EMPTY;
        return 1;
    }
    if entry & ENTRY_LEAF != 0 {
        window.state = WINDOW_HUGE;
        window.entry = entry;
        return 1;
    }
    if shift != 21 {
        return 0;
    }
    let place = direct_map + (entry & ENTRY_FRAME);
    let Some(own) = probe_at(place + (address / PAGE % HUGE_PAGES) * 8) else { return 0 };
    window.entry = own;
    if others != 0 {
        let Some(table) = TABLE.get_ptr_mut(0) else { return 0 };
        // SAFETY: the table has this size.
        let status =
            unsafe { bpf_probe_read_kernel(table.cast(), size_of::<Table>() as u32, place as *const _) };
        if status != 0 {
            return 0;
        }
        // SAFETY: `pack` has the signature of a callback, and `window` outlives the loop.
        unsafe {
            let mut present = Packed { words: [0; GROUPS] };
            bpf_loop(GROUPS as u32, pack as *mut c_void, (&raw mut present).cast(), 0);
            window.present = present.words;
        }
    }
    window.state = WINDOW_TABLE;
    1
}

/// Bits of entries.
#[repr(C)]
struct Packed {
    words: [u64; GROUPS],
}

/// Whether the pages of one group are mapped, as a word.
#[inline(never)]
extern "C" fn pack(group: u32, packed: *mut Packed) -> i64 {
    let word = zc_pack(group.into());
    // SAFETY: `zc_window` passes its own.
    unsafe { (*packed).words[group as usize & (GROUPS - 1)] = word };
    0
}

/// That word. A global function: the verifier looks at it once, and not for each of the first groups.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn zc_pack(group: u64) -> u64 {
    let Some(table) = TABLE.get_ptr(0) else { return 0 };
    let group = group as usize & (GROUPS - 1);
    let mut word = 0;
    let mut page = 0;
    while page < GROUP_PAGES as usize {
        // SAFETY: this CPU's, and within it.
        let entry = unsafe { (*table).entries[group * GROUP_PAGES as usize + page] };
        word |= (entry & ENTRY_PRESENT) << page;
        page += 1;
    }
    word
}
