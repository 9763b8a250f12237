//! Page faults on mapped files.
//!
//! A fault is seen to begin, and not to end: what it came to is looked at when the thread is next seen. In between, the
//! kernel says when it has mapped pages around the one that was touched (`mm_filemap_map_pages`); that is the moment to
//! count them, before another thread can take them away.

use core::ffi::c_void;

use aya_ebpf::{helpers::generated::bpf_loop, macros::map, maps::Array};
use zc_common::{
    fault::{
        FAULT_COUNTED, FAULT_GONE, FAULT_IN_CALL, FAULT_PRESENT, FAULT_UNPLACED, Fault, GROUPS, HUGE_PAGES,
        PAGE, Window,
    },
    loss::Loss,
    mapping::{MAPPING_BACKED, Mapping},
    path::{Kind, Path},
    row::{RowKey, SPECIAL},
    thread::Thread,
};

use crate::{
    kernel::{Typed, current, fetch_and, fetch_or, typed, user_registers},
    mapping::{self, zc_find_mapping},
    maps::lose,
    page_table::zc_window,
    row::{self, Entry},
    thread::CallCosts,
};

/// How many groups of pages are remembered; a power of two.
const CLAIMS_MAX: u32 = 4096;

/// Pages of a group that threads have counted, so that two that fault there at the same moment do not count a page twice.
#[repr(C)]
struct Claim {
    group: u64,
    pages: u64,
}

#[map]
static CLAIMS: Array<Claim> = Array::with_max_entries(CLAIMS_MAX, 0);

/// Names a group of pages of the window at `address`, wherever it is.
#[inline(always)]
fn group_of(thread: *mut Thread, address: u64, index: usize) -> u64 {
    // SAFETY: map memory, only this thread's.
    let mm = unsafe { (&raw const (*thread).mm).read_volatile() };
    let group = address / (HUGE_PAGES * PAGE) * GROUPS as u64 + index as u64;
    (mm.rotate_left(20) ^ group).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

#[inline(always)]
fn claim_of(group: u64) -> Option<*mut Claim> {
    CLAIMS.get_ptr_mut((group >> 40) as u32 & (CLAIMS_MAX - 1))
}

/// See [`zc_release_pages`].
const RELEASED: u64 = 2;

/// What is not mapped before a fault can be counted again. Returns [`RELEASED`] when something was counted before and is not mapped: it was unmapped
/// since, or another thread has mapped and counted it after this one has looked. A global function: the verifier looks at it once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn zc_release_pages(thread: *mut Thread) -> u64 {
    if thread.is_null() {
        return 0;
    }
    // SAFETY: map memory, only this thread's.
    let fault = unsafe { &(*thread).fault };
    let mut index = 0;
    let mut released = 1;
    while index < GROUPS {
        let group = group_of(thread, fault.address, index);
        let Some(claim) = claim_of(group) else { return 0 };
        // SAFETY: map memory; threads that use it for different groups at once count a page twice at worst.
        unsafe {
            if (&raw const (*claim).group).read_volatile() == group {
                let present = fault.before.present[index];
                if fetch_and(&raw mut (*claim).pages, present) & !present != 0 {
                    released = RELEASED;
                }
            } else {
                (&raw mut (*claim).pages).write_volatile(0);
                (&raw mut (*claim).group).write_volatile(group);
            }
        }
        index += 1;
    }
    released
}

/// How many pages are mapped in `now`, were not before, and have been counted by nobody; the fault's own page is among
/// them in any case if `served`. As above.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn zc_claim_pages(thread: *mut Thread, now: *const Window, served: u32) -> u64 {
    if thread.is_null() || now.is_null() {
        return 0;
    }
    let mut claims = Claims { thread, now, served: served.into(), count: 0 };
    // SAFETY: `claim_group` has the signature of a callback, and `claims` outlives the loop.
    unsafe { bpf_loop(GROUPS as u32, claim_group as *mut c_void, (&raw mut claims).cast(), 0) };
    claims.count
}

/// What [`zc_claim_pages`] is about, and what it has come to.
#[repr(C)]
struct Claims {
    thread: *mut Thread,
    now: *const Window,
    served: u64,
    count: u64,
}

/// Claims pages of one group.
#[inline(never)]
extern "C" fn claim_group(index: u32, claims: *mut Claims) -> i64 {
    // SAFETY: `zc_claim_pages` passes its own.
    let claims = unsafe { &mut *claims };
    let (thread, index) = (claims.thread, index as usize & (GROUPS - 1));
    // SAFETY: map memory, only this thread's; a reference.
    let (fault, now) = unsafe { (&mut (*thread).fault, &*claims.now) };
    let mut pages = fault.newly_mapped(now, index);
    let own = fault.own_page(index);
    if pages & own != 0 {
        fault.flags |= FAULT_COUNTED;
    }
    if claims.served != 0 {
        pages |= own;
    }
    if pages != 0 {
        fault.before.present[index] |= pages;
        let group = group_of(thread, fault.address, index);
        if let Some(claim) = claim_of(group) {
            // SAFETY: map memory.
            unsafe {
                if (&raw const (*claim).group).read_volatile() == group {
                    pages &= !fetch_or(&raw mut (*claim).pages, pages);
                }
            }
        }
        claims.count += ones(pages);
    }
    0
}

/// How many bits are set; there is no instruction for it.
#[inline(always)]
fn ones(word: u64) -> u64 {
    let pairs = word - (word >> 1 & 0x5555_5555_5555_5555);
    let fours = (pairs & 0x3333_3333_3333_3333) + (pairs >> 2 & 0x3333_3333_3333_3333);
    ((fours + (fours >> 4)) & 0x0F0F_0F0F_0F0F_0F0F).wrapping_mul(0x0101_0101_0101_0101) >> 56
}

/// Accounts for the fault that the thread was seen in last.
#[inline(always)]
pub(crate) fn settle(thread: *mut Thread) {
    // SAFETY: map memory, only this thread's.
    let (address, flags) = unsafe { ((*thread).fault.address, (*thread).fault.flags) };
    if address == 0 {
        return;
    }
    // Not by the next function: there would be no stack left.
    if flags & FAULT_UNPLACED != 0 {
        zc_fault_place(thread);
    }
    zc_fault_end(thread);
}

/// Finds out what is mapped where a fault was, when that could not be told as it began. A global function, as above.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn zc_fault_place(thread: *mut Thread) -> u64 {
    if thread.is_null() {
        return 0;
    }
    // SAFETY: map memory, only this thread's.
    let fault = unsafe { &mut (*thread).fault };
    let mut mapping = Mapping::NONE;
    if fault.flags & FAULT_GONE == 0 && zc_find_mapping(fault.address, &raw mut mapping) != 0 {
        fault.flags &= !FAULT_UNPLACED;
        fault.place(&mapping);
    }
    1
}

/// A fault begins at a user address. Most are on anonymous memory, which the thread knows.
#[inline(always)]
pub(crate) fn begin(thread: *mut Thread, address: u64, code: u64, flags: u32) {
    settle(thread);
    if !mapping::is_memory(thread, address, 1) {
        zc_fault_begin(thread, address, code as u32 & 3 | flags);
    }
}

/// The fault on a mapped file that the thread is in, not one that it has taken and left.
#[inline(always)]
pub(crate) fn in_progress(thread: *mut Thread, task: Typed) -> bool {
    let registers = user_registers(task);
    let number: u64 = typed!(registers, regs_number);
    // SAFETY: map memory, only this thread's.
    let fault = unsafe { &(*thread).fault };
    // Outside of calls the number is that of none while an exception is dealt with, and an interrupt's else.
    fault.address != 0 && fault.flags & FAULT_IN_CALL == 0 && number == u64::MAX
}

/// A global function: the verifier looks at it once, and not again at each call.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn zc_fault_begin(thread: *mut Thread, address: u64, flags: u32) -> u64 {
    if thread.is_null() {
        return 0;
    }
    let mut mapping = Mapping::NONE;
    let mut flags = flags;
    if zc_find_mapping(address, &raw mut mapping) == 0 {
        flags |= FAULT_UNPLACED;
    } else if !mapping.is_backed() {
        return 0;
    }
    let task = current();
    // What is not known yet may be a file that others come along of.
    let others = flags & FAULT_UNPLACED != 0 || Fault::maps_others(flags, mapping.flags);
    // SAFETY: map memory, only this thread's.
    unsafe {
        let minor: u64 = typed!(task, task_min_flt);
        let major: u64 = typed!(task, task_maj_flt);
        let fault = &mut (*thread).fault;
        fault.pages = 0;
        fault.voluntary = 0;
        fault.involuntary = 0;
        zc_window((*thread).page_table, address, u32::from(others), &raw mut fault.before);
        fault.address = address;
        fault.faults = minor + major;
        fault.major = major;
        fault.flags = flags;
        fault.place(&mapping);
        (*thread).fault_device_read_bytes = 0;
    }
    // SAFETY: map memory, only this thread's.
    let (tgid, root, before) =
        unsafe { ((*thread).tgid, (*thread).page_table, &raw mut (*thread).fault.before) };
    if others && zc_release_pages(thread) == RELEASED && row::has_threads(tgid) {
        // What another thread has counted in between is mapped by now, and so is not new to this one.
        zc_window(root, address, 1, before);
    }
    1
}

/// Pages were mapped around the one that the thread has touched. As above.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn zc_fault_around(thread: *mut Thread) -> u64 {
    if thread.is_null() {
        return 0;
    }
    // SAFETY: map memory, only this thread's.
    let fault = unsafe { &mut (*thread).fault };
    if fault.address == 0 || fault.flags & FAULT_PRESENT != 0 {
        return 0;
    }
    let mut now = Window::UNREAD;
    // SAFETY: map memory, only this thread's.
    zc_window(unsafe { (*thread).page_table }, fault.address, 1, &raw mut now);
    fault.doubt(&now);
    fault.pages += zc_claim_pages(thread, &raw const now, 0) as u32;
    1
}

/// As above.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn zc_fault_end(thread: *mut Thread) -> u64 {
    if thread.is_null() {
        return 0;
    }
    let task = current();
    // SAFETY: map memory, only this thread's.
    let fault = unsafe { &mut (*thread).fault };
    let minor: u64 = typed!(task, task_min_flt);
    let major: u64 = typed!(task, task_maj_flt);
    // Without one more it was not served: a signal, or an error of the call.
    if minor + major != fault.faults {
        account(thread, fault, major != fault.major);
    }
    fault.address = 0;
    1
}

/// A fault was served.
#[inline(always)]
fn account(thread: *mut Thread, fault: &mut Fault, is_major: bool) {
    if fault.flags & FAULT_UNPLACED != 0 {
        lose(Loss::FaultsUnread);
        return;
    }
    if fault.mapping & MAPPING_BACKED == 0 {
        return;
    }
    let mut now = Window::UNREAD;
    if fault.flags & FAULT_GONE == 0 {
        let others = fault.flags & FAULT_COUNTED == 0 && Fault::maps_others(fault.flags, fault.mapping);
        // SAFETY: map memory, only this thread's.
        zc_window(unsafe { (*thread).page_table }, fault.address, u32::from(others), &raw mut now);
    }
    let outcome = fault.outcome(&now);
    let mut pages = u64::from(fault.pages);
    if outcome.huge {
        pages += HUGE_PAGES;
    } else if outcome.mapped {
        pages += zc_claim_pages(thread, &raw const now, 1);
    }
    let bit = |is_so: bool, bit: u64| if is_so { bit } else { 0 };
    let what = bit(outcome.copied, COPIED) | bit(outcome.writable, WRITABLE) | bit(is_major, MAJOR);
    zc_fault_rows(thread, pages, what);
}

/// What a fault came to, as a number.
const COPIED: u64 = 1;
const WRITABLE: u64 = 2;
const MAJOR: u64 = 4;

/// Adds a fault that made `pages` pages accessible to its rows. As above.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn zc_fault_rows(thread: *mut Thread, pages: u64, what: u64) -> u64 {
    if thread.is_null() {
        return 0;
    }
    let task = current();
    // SAFETY: map memory, only this thread's.
    let fault = unsafe { &(*thread).fault };
    let in_user_mode = fault.flags & FAULT_IN_CALL == 0;
    // Of one that was taken within a call, it is the call's.
    // SAFETY: as above.
    let device = if in_user_mode { unsafe { (*thread).fault_device_read_bytes } } else { 0 };
    let is_major = u32::from(what & MAJOR != 0);
    let costs = CallCosts {
        device_read_bytes: device as u32,
        voluntary: fault.voluntary,
        involuntary: fault.involuntary,
        minor: 1 - is_major,
        major: is_major,
        ..CallCosts::NONE
    };
    let mut row = Row {
        pages,
        copied: if what & COPIED == 0 { 0 } else { PAGE },
        in_user_mode: u32::from(in_user_mode),
        costs,
        object: fault.object,
        is_seen: fault.is_seen(),
        is_written: false,
    };
    if what & WRITABLE != 0 {
        // The fault is counted once, with what it was for. What it has mapped may be written, all of it.
        let written = Row { pages: if pages == 0 { 1 } else { pages }, copied: 0, is_written: true, ..row };
        row.costs = CallCosts::NONE;
        row.in_user_mode = 0;
        add(thread, task, &written);
        if pages == 0 {
            return 1;
        }
    }
    add(thread, task, &row);
    1
}

/// What is added to a row of a mapped file.
#[derive(Clone, Copy)]
struct Row {
    pages: u64,
    copied: u64,
    in_user_mode: u32,
    costs: CallCosts,
    object: u32,
    is_seen: bool,
    is_written: bool,
}

#[inline(always)]
fn add(thread: *mut Thread, task: Typed, row: &Row) {
    let (file, memory) = (Kind::File as u8, Kind::Memory as u8);
    let mut key = key(thread, task, row.object);
    if row.is_written {
        key.source_kind = memory;
        key.source = 0;
        key.destination_kind = file;
        key.destination = row.object;
    }
    if !row.is_seen {
        key.flags = SPECIAL;
    }
    let bytes = row.pages * PAGE;
    let by_reference =
        if row.is_seen { bytes - if row.copied < bytes { row.copied } else { bytes } } else { 0 };
    let mut entry = Entry {
        calls: 0,
        copied: row.copied,
        by_reference,
        taken_calls: row.in_user_mode,
        ..Entry::new(key, bytes, row.costs)
    };
    row::add(thread, &mut entry);
}

/// The row of what becomes accessible of a file.
#[inline(always)]
fn key(thread: *mut Thread, task: Typed, object: u32) -> RowKey {
    RowKey {
        path: Path::Mmap as u8,
        source_kind: Kind::File as u8,
        destination_kind: Kind::Memory as u8,
        source: object,
        ..row::key(thread, task)
    }
}

/// Counts a call that maps a file, or moves or takes away such a mapping.
#[inline(always)]
pub(crate) fn count_call(thread: *mut Thread, task: Typed, object: u32, costs: CallCosts) {
    let mut entry = Entry::new(key(thread, task, object), 0, costs);
    row::add(thread, &mut entry);
}
