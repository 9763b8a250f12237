//! Calls that change what is mapped.

use aya_ebpf::{
    bindings::BPF_ANY,
    macros::map,
    maps::{LruHashMap, PerCpuArray},
};
use zc_common::{mapping::Mapping, maps::AREAS_MAX, thread::Thread};

use crate::{
    arch::{self, MappingCall},
    fault,
    kernel::{current, typed, user_registers},
    mapping::{self, zc_find_mapping},
    thread,
};

/// The beginning of a mapping of a file, in the memory of a process.
#[repr(C)]
#[derive(Clone, Copy)]
struct Area {
    mm: u64,
    start: u64,
}

/// Which file was mapped there: when a mapping is taken away, the kernel does not know any more. Those of processes that
/// have ended make room.
#[map]
static AREAS: LruHashMap<Area, u32> = LruHashMap::with_max_entries(AREAS_MAX, 0);

/// What is mapped where a file was; the stack has no room for it.
#[map]
static FOUND: PerCpuArray<Mapping> = PerCpuArray::with_max_entries(1, 0);

/// A global function: the verifier looks at it once. So are those that it calls, and their stacks are not on each other.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn zc_mapping_call(thread: *mut Thread, number: u64, result: i64) -> u64 {
    if thread.is_null() {
        return 0;
    }
    zc_note_change(thread, number, result);
    let Some(call) = arch::mapping_call(number) else { return 0 };
    let mut object = 0;
    if call == MappingCall::Map && !is_error(result) && !is_anonymous() {
        let Some(found) = FOUND.get_ptr_mut(0) else { return 0 };
        zc_find_mapping(result as u64, found);
        // SAFETY: this CPU's.
        let found = unsafe { &*found };
        if found.is_backed() {
            object = found.object;
        }
    }
    zc_count_mapping(thread, number, result, object);
    1
}

/// Errors are above all addresses.
#[inline(always)]
const fn is_error(result: i64) -> bool {
    result < 0
}

#[inline(always)]
fn is_anonymous() -> bool {
    const MAP_ANONYMOUS: u64 = 0x20;
    let flags: u64 = typed!(user_registers(current()), regs_arg3);
    flags & MAP_ANONYMOUS != 0
}

/// What threads know of mappings is so no more where the call has changed them.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn zc_note_change(thread: *mut Thread, number: u64, result: i64) -> u64 {
    const MAP_FIXED: u64 = 0x10;
    if thread.is_null() {
        return 0;
    }
    let registers = user_registers(current());
    let (first, len): (u64, u64) = (typed!(registers, regs_arg0), typed!(registers, regs_arg1));
    let flags: u64 = typed!(registers, regs_arg3);
    match arch::mapping_call(number) {
        // A free place: what was known of others still holds.
        Some(MappingCall::Map) if flags & MAP_FIXED == 0 => {}
        Some(MappingCall::Map) => {
            mapping::changed(thread, first, len, true);
        }
        Some(MappingCall::Unmap) => mapping::unmapped(thread, first, len),
        Some(MappingCall::Move) => {
            mapping::changed(thread, first, len, true);
            mapping::changed(thread, result as u64, typed!(registers, regs_arg2), true);
        }
        None if arch::protects(number) => {
            mapping::changed(thread, first, len, false);
        }
        None => mapping::all_changed(thread),
    }
    1
}

/// Counts the call with the file that it is about: `object`, or what was mapped where it takes memory away.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn zc_count_mapping(thread: *mut Thread, number: u64, result: i64, object: u32) -> u64 {
    if thread.is_null() {
        return 0;
    }
    let task = current();
    // Also of one that failed: they are not those of the next.
    let costs = thread::call_costs(thread, task, 0);
    let Some(call) = arch::mapping_call(number).filter(|_| !is_error(result)) else { return 0 };
    let registers = user_registers(task);
    let (first, len): (u64, u64) = (typed!(registers, regs_arg0), typed!(registers, regs_arg1));
    // SAFETY: map memory, only this thread's.
    let mm = unsafe { (*thread).mm };
    let given = Area { mm, start: first };
    let new = Area { mm, start: result as u64 };
    let mut object = object;
    if call == MappingCall::Map {
        if is_anonymous() {
            mapping::note_memory(thread, new.start, len);
        }
    } else {
        if let Some(area) = AREAS.get_ptr(&given) {
            // SAFETY: map memory.
            object = unsafe { *area };
        }
        let _ = AREAS.remove(&given);
    }
    if call != MappingCall::Unmap {
        // Without room, only the call that takes it away is not counted with its file.
        let _ =
            if object == 0 { AREAS.remove(&new) } else { AREAS.insert(&new, &object, u64::from(BPF_ANY)) };
    }
    if object != 0 {
        fault::count_call(thread, task, object, costs);
    }
    1
}
