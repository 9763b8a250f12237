//! The state of traced threads.

use aya_ebpf::{bindings::BPF_NOEXIST, macros::map, maps::PerCpuArray};
use zc_common::{
    loss::Loss,
    row::Costs,
    thread::{Thread, memory_id},
};

use crate::{
    arch,
    kernel::{Typed, global, pointer, typed, user_registers},
    maps::{THREADS, epoch, lose},
    process,
};

/// A thread that is about to be remembered: its state is too large for the stack. What is not set below is zero and stays so.
#[map]
static NEW_THREAD: PerCpuArray<Thread> = PerCpuArray::with_max_entries(1, 0);

/// What a call cost besides itself.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct CallCosts {
    pub(crate) voluntary: u32,
    pub(crate) involuntary: u32,
    pub(crate) minor: u32,
    pub(crate) major: u32,
    pub(crate) device_read_bytes: u32,
    /// Not zero when the device itself moved all bytes of the call between storage and the call's own memory: no cost,
    /// but it comes with them. Of a zero-copy send: the kernel will report on it.
    pub(crate) by_device: u32,
}

impl CallCosts {
    pub(crate) const NONE: Self =
        Self { voluntary: 0, involuntary: 0, minor: 0, major: 0, device_read_bytes: 0, by_device: 0 };

    /// Whether it cost nothing else, as most calls.
    #[inline(always)]
    pub(crate) fn is_zero(&self) -> bool {
        self.voluntary | self.involuntary | self.minor | self.major | self.device_read_bytes | self.by_device
            == 0
    }
}

/// The state of a thread that has been seen before.
#[inline(always)]
pub(crate) fn find(task: Typed) -> Option<*mut Thread> {
    find_as(task, typed!(task, task_pid))
}

/// The same, by an id that the task has, or had a moment ago.
#[inline(always)]
pub(crate) fn find_as(task: Typed, tid: u32) -> Option<*mut Thread> {
    let thread = THREADS.get_ptr_mut(tid)?;
    let start_ns: u64 = typed!(task, task_start_boottime);
    // SAFETY: map memory, only this thread's.
    (unsafe { (*thread).start_ns } == start_ns).then_some(thread)
}

/// The state of a thread, made if need be.
#[inline(always)]
pub(crate) fn find_or_create(task: Typed, tgid: u32) -> Option<*mut Thread> {
    match find(task) {
        Some(thread) => Some(thread),
        None => create(task, tgid),
    }
}

/// Begins a thread's state. One of the same id that is still there belonged to a thread whose end was not
/// seen; its rows are in `ROWS` and are found there at the end.
#[inline(never)]
pub(crate) fn create(task: Typed, tgid: u32) -> Option<*mut Thread> {
    remember(NEW_THREAD.get_ptr_mut(0)?, task, tgid)
}

/// The same, by way of memory that nobody else uses meanwhile. It is remembered as a whole, as others may be looking for it.
#[inline(always)]
pub(crate) fn remember(new: *mut Thread, task: Typed, tgid: u32) -> Option<*mut Thread> {
    let tid: u32 = typed!(task, task_pid);
    let leader: Typed = pointer!(task, task_group_leader, task_type);
    if leader.is_null() {
        return None;
    }
    let process_start_ns: u64 = typed!(leader, task_start_boottime);
    // `self_exec_id` is a u64 since Linux 5.6.
    let exec_id: u64 = typed!(task, task_self_exec_id);
    let is_attached = process::is_attached(tgid);
    // SAFETY: map memory, as the caller says.
    unsafe {
        (*new).start_ns = typed!(task, task_start_boottime);
        (*new).process_start_ns = process_start_ns;
        (*new).memory = memory_id(tgid, process_start_ns, exec_id);
        (*new).tgid = tgid;
        (*new).epoch = epoch();
        (*new).base = if is_attached { costs_so_far(task) } else { Costs::NONE };
        (*new).device_seen = (*new).base.device_read_bytes;
    }
    remember_memory(new, task);
    if let Some(known) = THREADS.get_ptr_mut(tid) {
        // SAFETY: map memory.
        if unsafe { (*known).start_ns == (*new).start_ns } {
            return Some(known);
        }
        let _ = THREADS.remove(tid);
    }
    // SAFETY: map memory, of this size.
    if THREADS.insert(tid, unsafe { &*new }, u64::from(BPF_NOEXIST)).is_err() {
        // Whoever counts the threads of the process has just seen it, too.
        let known = find_as(task, tid);
        if known.is_none() {
            lose(Loss::ThreadsFull);
        }
        return known;
    }
    THREADS.get_ptr_mut(tid)
}

/// What the kernel has counted for a task since it started.
#[inline(always)]
pub(crate) fn costs_so_far(task: Typed) -> Costs {
    Costs {
        calls: 0,
        voluntary: typed!(task, task_nvcsw),
        involuntary: typed!(task, task_nivcsw),
        minor: typed!(task, task_min_flt),
        major: typed!(task, task_maj_flt),
        device_read_bytes: read_bytes(task),
    }
}

/// Bytes that storage delivered for a task since it started, where the kernel counts them.
#[inline(always)]
pub(crate) fn read_bytes(task: Typed) -> u64 {
    if global!(OFFSETS.task_ioac_read_bytes) == 0 { 0 } else { typed!(task, task_ioac_read_bytes) }
}

/// Keeps where the task's memory is described.
#[inline(always)]
pub(crate) fn remember_memory(thread: *mut Thread, task: Typed) {
    let mm: Typed = pointer!(task, task_mm, mm_type);
    let page_table: u64 = if mm.is_null() { 0 } else { typed!(mm, mm_pgd) };
    // SAFETY: map memory, only this thread's.
    unsafe {
        (*thread).mm = mm as u64;
        (*thread).page_table = page_table;
    }
}

/// What storage had to deliver for the running thread since this was last asked: `ioac.read_bytes` grows in
/// `submit_bio`, with the file system's own I/O and not with what stacked devices (dm, md, loop) make of it.
#[inline(always)]
pub(crate) fn storage_since(thread: *mut Thread, task: Typed) -> u64 {
    if global!(OFFSETS.task_ioac_read_bytes) == 0 {
        return 0;
    }
    let now: u64 = typed!(task, task_ioac_read_bytes);
    // SAFETY: map memory, only this thread's.
    unsafe {
        let since = now.wrapping_sub((*thread).device_seen);
        (*thread).device_seen = now;
        since
    }
}

/// Notes a switch, a kernel-mode fault or storage I/O of a traced thread, when it falls within a call that moves
/// bytes.
///
/// `orig_ax` is -1 outside of calls, and `ax` stays -ENOSYS from the entry (`PUSH_AND_CLEAR_REGS`) until the
/// result is known, so what happens on the way back to user mode does not count.
#[inline(always)]
pub(crate) fn touch(task: Typed) -> Option<*mut Thread> {
    const ENOSYS: i64 = 38;
    let registers = user_registers(task);
    let number: u64 = typed!(registers, regs_number);
    let result: i64 = typed!(registers, regs_result);
    if result != -ENOSYS || !arch::is_accounted(number, registers) || arch::is_compat(task, number) {
        return None;
    }
    let thread = find(task)?;
    // SAFETY: map memory, and its thread does nothing else now.
    unsafe {
        if (*thread).call_touched == 0 {
            (*thread).call_touched = 1;
            (*thread).call_voluntary = 0;
            (*thread).call_involuntary = 0;
            (*thread).call_device_read_bytes = 0;
            (*thread).call_direct_bytes = 0;
            (*thread).call_minor = typed!(task, task_min_flt);
            (*thread).call_major = typed!(task, task_maj_flt);
        }
    }
    Some(thread)
}

/// Whether the thread came into the kernel by an exception or interrupt in user mode, and not by a call.
#[inline(always)]
pub(crate) fn is_outside_calls(registers: Typed) -> bool {
    let number: i64 = typed!(registers, regs_number);
    number == -1
}

/// What the call that has just ended cost, which moved `bytes`.
#[inline(always)]
pub(crate) fn call_costs(thread: *mut Thread, task: Typed, bytes: u64) -> CallCosts {
    // SAFETY: map memory, only this thread's.
    unsafe {
        if (*thread).call_touched == 0 {
            return CallCosts::NONE;
        }
        (*thread).call_touched = 0;
        let minor: u64 = typed!(task, task_min_flt);
        let major: u64 = typed!(task, task_maj_flt);
        // What was not seen on its way: I/O that a cgroup's limit held back is queued by a worker later, and network
        // file systems have no block device. Their reader waits, so that its call is a touched one.
        let device = (*thread).call_device_read_bytes + storage_since(thread, task);
        CallCosts {
            voluntary: (*thread).call_voluntary,
            involuntary: (*thread).call_involuntary,
            minor: (minor - (*thread).call_minor) as u32,
            major: (major - (*thread).call_major) as u32,
            // One call moves less than 2 GiB (`MAX_RW_COUNT`).
            device_read_bytes: if device > u64::from(u32::MAX) { u32::MAX } else { device as u32 },
            // Of a last block that is not full, the device moves more. Without a branch, of which the verifier would
            // follow both ways through all that comes.
            by_device: (bytes.wrapping_sub(1).wrapping_sub((*thread).call_direct_bytes) >> 63) as u32,
        }
    }
}
