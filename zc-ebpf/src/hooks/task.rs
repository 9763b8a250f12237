//! Processes that run already: taking them in as if they had been seen to begin.
//!
//! The program of an iterator (`bpf_iter_task`, Linux 5.8) is run by whoever reads its file, once for each thread of each process in
//! the PID namespace of the reader, and once more when there is none left (`task_seq_stop`). All of them go on running meanwhile.
//! What follows from that is in `zc_common::attach` and in `crate::process`.

use core::{
    ffi::c_void,
    ptr::{null_mut, read_volatile},
};

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    helpers::generated::bpf_for_each_map_elem,
    macros::map,
    maps::{Array, HashMap},
};
use zc_common::{
    attach::{BEGUN, ENDED, FOUND, KERNEL_THREAD, NO_ROOM, TRACED_BEFORE, WANTED_MAX, Walk, Wanted},
    thread::Thread,
};

use super::process::is_kernels_own;
use crate::{
    kernel::{Typed, address_at, current, global, pointer, probe, probe_at, typed},
    maps::{PROCESSES, THREADS, is_traced},
    page_table::zc_find_direct_map,
    process, thread,
};

/// Processes that are wanted.
#[map]
static WANTED: HashMap<u32, Wanted> = HashMap::with_max_entries(WANTED_MAX, BPF_F_NO_PREALLOC);

/// What the walk does.
#[map]
static WALK_KIND: Array<u64> = Array::with_max_entries(1, 0);

/// A thread that is about to be remembered. Only one walk is under way at a time; it may be preempted by programs that use the like
/// of their CPU.
#[map]
static FOUND_THREAD: Array<Thread> = Array::with_max_entries(1, 0);

/// `struct bpf_iter__task`.
#[repr(C)]
struct Context {
    meta: *const c_void,
    task: Typed,
}

/// `bpf_iter_task(struct bpf_iter_meta *meta, struct task_struct *task)`; without a task at the end.
#[unsafe(link_section = "iter/task")]
#[unsafe(no_mangle)]
extern "C" fn zc_attach(context: *const Context) -> i32 {
    const FIND: u64 = Walk::Find as u64;
    const BEGIN: u64 = Walk::Begin as u64;
    const THREADS: u64 = Walk::Threads as u64;
    // SAFETY: what the kernel passes.
    let task = unsafe { read_volatile(&raw const (*context).task) };
    let Some(walk) = WALK_KIND.get(0) else { return 0 };
    if task.is_null() {
        if *walk == THREADS {
            // SAFETY: `settle_next` has the signature of a callback.
            unsafe {
                bpf_for_each_map_elem(
                    (&raw const WANTED).cast_mut().cast(),
                    settle_next as *mut c_void,
                    null_mut(),
                    0,
                );
            }
        }
        return 0;
    }
    match *walk {
        FIND => find(task),
        BEGIN => begin(task),
        THREADS => count(task),
        _ => None,
    };
    0
}

/// A process is found by its first thread, which is there as long as any other.
#[inline(always)]
fn is_first_thread(task: Typed) -> bool {
    let (tid, tgid): (u32, u32) = (typed!(task, task_pid), typed!(task, task_tgid));
    tid == tgid
}

#[inline(always)]
fn find(task: Typed) -> Option<()> {
    const PF_KTHREAD: u32 = 0x0020_0000;
    if !is_first_thread(task) {
        return None;
    }
    let wanted = WANTED.get_ptr_mut(own_id(task)?)?;
    let flags: u32 = typed!(task, task_flags);
    // SAFETY: map memory, which user space does not change during a walk.
    unsafe {
        (*wanted).tgid = typed!(task, task_tgid);
        (*wanted).start_ns = typed!(task, task_start_boottime);
        (*wanted).state = if flags & PF_KTHREAD == 0 { FOUND } else { FOUND | KERNEL_THREAD };
    }
    Some(())
}

/// The id of a process in the PID namespace of the reader.
#[inline(always)]
fn own_id(task: Typed) -> Option<u32> {
    let level: u32 = probe!(address_at(current(), global!(OFFSETS.task_thread_pid)), pid_level)?;
    let name = address_at(task, global!(OFFSETS.task_thread_pid));
    let its_level: u32 = probe!(name, pid_level)?;
    // It has ended, and has no name any more.
    if name == 0 || level > its_level {
        return None;
    }
    // `struct upid` ends with a pointer.
    let size = u64::from(global!(OFFSETS.upid_ns)) + 8;
    probe_at(name + u64::from(global!(OFFSETS.pid_numbers)) + u64::from(level) * size)
}

#[inline(always)]
fn wanted(task: Typed) -> Option<*mut Wanted> {
    let tgid: u32 = typed!(task, task_tgid);
    WANTED.get_ptr_mut(tgid)
}

#[inline(always)]
fn begin(task: Typed) -> Option<()> {
    if !is_first_thread(task) {
        return None;
    }
    let wanted = wanted(task)?;
    let tgid: u32 = typed!(task, task_tgid);
    let start_ns: u64 = typed!(task, task_start_boottime);
    // SAFETY: map memory, as above.
    unsafe {
        if (*wanted).start_ns != start_ns {
            return None;
        }
        if is_traced(tgid) {
            (*wanted).state |= TRACED_BEFORE;
            return None;
        }
        // Page tables are read from the first fault on. That of the reader is sure to stay.
        let mm: Typed = pointer!(current(), task_mm, mm_type);
        if !mm.is_null() {
            zc_find_direct_map(address_at(mm, global!(OFFSETS.mm_pgd)));
        }
        (*wanted).state |= if process::begin(tgid, true) { BEGUN } else { NO_ROOM };
    }
    Some(())
}

/// Counts a thread. What it is from here on, is what it is from its first event on that is seen.
#[inline(always)]
fn count(task: Typed) -> Option<()> {
    let wanted = wanted(task)?;
    // SAFETY: map memory, as above.
    if unsafe { (*wanted).state } & BEGUN == 0 || is_exiting(task) {
        return None;
    }
    let tgid: u32 = typed!(task, task_tgid);
    let process = PROCESSES.get_ptr_mut(tgid)?;
    let thread = match thread::find(task) {
        Some(thread) => thread,
        None => thread::remember(FOUND_THREAD.get_ptr_mut(0)?, task, tgid)?,
    };
    if is_kernels_own(task) || !process::count_in(process, thread) {
        return None;
    }
    // Its last switch may have been before: then nobody else will count it out. It was marked as exiting before that.
    if is_exiting(task) && process::leave(thread) {
        let tid: u32 = typed!(task, task_pid);
        let _ = THREADS.remove(tid);
        process::count_out(process);
        return None;
    }
    // SAFETY: map memory, as above.
    unsafe { (*wanted).threads += 1 };
    Some(())
}

#[inline(always)]
fn is_exiting(task: Typed) -> bool {
    const PF_EXITING: u32 = 4;
    let flags: u32 = typed!(task, task_flags);
    flags & PF_EXITING != 0
}

/// All threads of a process are counted.
#[inline(never)]
extern "C" fn settle_next(
    _map: *mut c_void,
    tgid: *const u32,
    wanted: *mut Wanted,
    _context: *mut c_void,
) -> i64 {
    // SAFETY: what `bpf_for_each_map_elem` passes.
    unsafe {
        if (*wanted).state & BEGUN != 0
            && let Some(process) = PROCESSES.get_ptr_mut(*tgid)
            && process::count_out(process)
        {
            process::end(*tgid);
            (*wanted).state |= ENDED;
        }
    }
    0
}
