//! The state of traced threads.

use aya_ebpf::bindings::BPF_NOEXIST;
use zc_common::{
    fault::Fault,
    inside::Inside,
    loss::Loss,
    mapping::{MAPPINGS, Mapping},
    row::{Costs, RowKey},
    thread::{DESCRIPTORS, Descriptor, RECENT, Recent, Thread, memory_id},
};

use crate::{
    arch,
    kernel::{Typed, global, typed, user_registers},
    maps::{THREADS, lose},
};

/// What a new thread begins with; too large for the stack.
static EMPTY: Thread = Thread {
    start_ns: 0,
    process_start_ns: 0,
    memory: 0,
    calls: 0,
    user_faults: 0,
    device_seen: 0,
    call_device_read_bytes: 0,
    call_direct_bytes: 0,
    fault_device_read_bytes: 0,
    base: Costs::NONE,
    call_minor: 0,
    call_major: 0,
    call_voluntary: 0,
    call_involuntary: 0,
    call_touched: 0,
    tgid: 0,
    sent_parts: 0,
    sent_bytes: 0,
    inside: Inside::NONE,
    received: 0,
    rows: RowKey::NONE,
    recent: [Recent::NONE; RECENT],
    descriptors: [Descriptor {
        file: 0,
        inode: 0,
        number: 0,
        generation: 0,
        fd: 0,
        object: 0,
        kind: 0,
        reserved: [0; 3],
    }; DESCRIPTORS],
    mm: 0,
    page_table: 0,
    fault: Fault::NONE,
    mappings: [Mapping::NONE; MAPPINGS],
};

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
    let tid: u32 = typed!(task, task_pid);
    let leader: Typed = typed!(task, task_group_leader);
    if leader.is_null() {
        return None;
    }
    let _ = THREADS.remove(tid);
    if THREADS.insert(tid, &EMPTY, u64::from(BPF_NOEXIST)).is_err() {
        lose(Loss::ThreadsFull);
        return None;
    }
    let thread = THREADS.get_ptr_mut(tid)?;
    let process_start_ns: u64 = typed!(leader, task_start_boottime);
    // `self_exec_id` is a u64 since Linux 5.6.
    let exec_id: u64 = typed!(task, task_self_exec_id);
    // SAFETY: map memory, only this thread's.
    unsafe {
        (*thread).start_ns = typed!(task, task_start_boottime);
        (*thread).process_start_ns = process_start_ns;
        (*thread).memory = memory_id(tgid, process_start_ns, exec_id);
        (*thread).tgid = tgid;
    }
    remember_memory(thread, task);
    Some(thread)
}

/// Keeps where the task's memory is described.
#[inline(always)]
pub(crate) fn remember_memory(thread: *mut Thread, task: Typed) {
    let mm: Typed = typed!(task, task_mm);
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
