//! Which processes are traced, and how many threads they have.
//!
//! A process that is traced from its beginning has one thread then, and each other one is seen to begin. Of one that ran before,
//! threads that begin, threads that end and those that a walk over all tasks finds are seen in any order. So a thread of it counts when it
//! is marked as counted, once, and the one who marks it as having left counts it out.

use aya_ebpf::bindings::BPF_ANY;
use zc_common::{
    loss::Loss,
    thread::{COUNTED, LEFT, Thread},
};

use crate::{
    kernel::{fetch_add, fetch_or, swap_if},
    maps::{PROCESSES, Process, lose, set_traced},
};

/// Begins to trace a process with its first thread. Of one that ran before, that is in place of those that are not counted
/// yet. Says whether there was room for it.
#[inline(always)]
pub(crate) fn begin(tgid: u32, attached: bool) -> bool {
    let process = Process { threads: 1, flows: 0, aio: 0, attached: u64::from(attached) };
    let has_room = PROCESSES.insert(tgid, &process, u64::from(BPF_ANY)).is_ok();
    if !has_room {
        lose(Loss::ThreadsFull);
    }
    if has_room || !attached {
        set_traced(tgid, true);
    }
    has_room
}

/// Whether the process ran before it was traced.
#[inline(always)]
pub(crate) fn is_attached(tgid: u32) -> bool {
    PROCESSES.get_ptr(tgid).is_some_and(was_attached)
}

/// The same of a process that was looked up.
#[inline(always)]
pub(crate) fn was_attached(process: *const Process) -> bool {
    // SAFETY: map memory.
    unsafe { (*process).attached != 0 }
}

/// Counts a thread that has begun, or that was found, if it is not counted. Says whether it was not.
#[inline(always)]
pub(crate) fn count_in(process: *mut Process, thread: *mut Thread) -> bool {
    // SAFETY: map memory.
    let is_new = swap_if(unsafe { &raw mut (*thread).counted }, 0, COUNTED);
    if is_new {
        // SAFETY: as above.
        fetch_add(unsafe { &raw mut (*process).threads }, 1);
    }
    is_new
}

/// Marks a thread as having left; says whether it is to be counted out.
#[inline(always)]
pub(crate) fn leave(thread: *mut Thread) -> bool {
    // SAFETY: map memory.
    fetch_or(unsafe { &raw mut (*thread).counted }, LEFT) == COUNTED
}

/// Counts a thread out; says whether it was the last.
#[inline(always)]
pub(crate) fn count_out(process: *mut Process) -> bool {
    // `signal->live` cannot tell the last one: several threads may find it zero.
    // SAFETY: map memory.
    fetch_add(unsafe { &raw mut (*process).threads }, u64::MAX) == 1
}

/// Ends the tracing of a process.
#[inline(always)]
pub(crate) fn end(tgid: u32) {
    set_traced(tgid, false);
    let _ = PROCESSES.remove(tgid);
}
