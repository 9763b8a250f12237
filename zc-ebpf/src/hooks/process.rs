//! Beginnings and ends of processes and threads.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::{BPF_NOEXIST, bpf_pidns_info},
    helpers::generated::{
        bpf_get_current_cgroup_id, bpf_get_ns_current_pid_tgid, bpf_loop, bpf_probe_read_kernel,
        bpf_probe_read_user,
    },
    macros::{btf_tracepoint, tracepoint},
    programs::{BtfTracePointContext, TracePointContext},
};
use zc_common::{
    config::{COUNT_CALLS, FOLLOW},
    fault::FAULT_GONE,
    loss::Loss,
    mapping::{MAPPINGS, Mapping},
    path::Path,
    record::{ARGS_BYTES, ExecRecord, ProcessRecord, RecordKind, RowRecord},
    row::{RowKey, RowValue, VALUE_CALLS_COUNTED, VALUE_FAULTS_COUNTED, VALUE_STORAGE_COUNTED},
    thread::{Thread, memory_id},
};

use crate::{
    arch, fault,
    kernel::{
        Typed, address_at, alone, current, fetch_add, global, pointer, typed, typed_at, user_registers,
    },
    maps::{
        EVENTS, PROCESSES, Process, ROWS, SESSION, THREADS, epoch, has, is_traced, lose, lose_many, wake_up,
    },
    object, page_table, process, row, thread,
};

/// `sched_process_fork(struct task_struct *parent, struct task_struct *child)`, before the child runs.
#[btf_tracepoint(function = "sched_process_fork")]
pub(crate) fn zc_fork(ctx: BtfTracePointContext) -> i32 {
    let parent = current();
    let tgid: u32 = typed!(parent, task_tgid);
    if !is_traced(tgid) {
        return 0;
    }
    let _alone = alone();
    let child: Typed = ctx.arg(1);
    let child_tgid: u32 = typed!(child, task_tgid);
    if child_tgid == tgid {
        thread_began(parent, child, tgid);
    } else if has(FOLLOW) {
        process::begin(child_tgid, false);
        if let Some(mut entry) = EVENTS.reserve::<ProcessRecord>(0) {
            write_process(entry.as_mut_ptr(), RecordKind::Fork, child, child_tgid, leader_start_ns(child));
            entry.submit(wake_up());
        } else {
            lose(Loss::RingFull);
        }
    }
    0
}

/// A traced process makes a thread.
#[inline(always)]
fn thread_began(parent: Typed, child: Typed, tgid: u32) {
    let process = PROCESSES.get_ptr_mut(tgid);
    let is_attached = process.is_some_and(|process| process::was_attached(process));
    let parent = thread::find(parent);
    // Where its state is not needed yet, it is made when it is first seen.
    let child = if parent.is_some() || is_attached { thread::create(child, tgid) } else { None };
    if let Some(process) = process {
        if !is_attached {
            // SAFETY: map memory.
            fetch_add(unsafe { &raw mut (*process).threads }, 1);
        } else if let Some(child) = child {
            process::count_in(process, child);
        }
    }
    // It sees the memory that its parent sees, and many threads at once would only wait for each other to look.
    if let (Some(parent), Some(child)) = (parent, child) {
        // SAFETY: map memory; of the child's, nobody else's before it runs.
        unsafe { (*child).mappings = (*parent).mappings };
    }
}

/// `sched_process_exec(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm)`, when the new
/// program is in place. Its first instruction is still to come.
#[btf_tracepoint(function = "sched_process_exec")]
pub(crate) fn zc_exec(ctx: BtfTracePointContext) -> i32 {
    let task = current();
    let tgid: u32 = typed!(task, task_tgid);
    let begins = !is_traced(tgid);
    if begins && !is_root() {
        return 0;
    }
    let _alone = alone();
    if begins {
        process::begin(tgid, false);
    }
    // A thread other than the first takes over the first one's id and start (`de_thread`). What both did so far
    // is complete, and what they did under the same name stays apart from what comes.
    let old_tid: u32 = ctx.arg(1);
    let tid: u32 = typed!(task, task_pid);
    if old_tid != tid {
        retire(tgid, tid);
    }
    let thread = thread::find_or_create(task, tgid);
    if old_tid != tid {
        if let (Some(thread), Some(old)) = (thread, THREADS.get_ptr(old_tid)) {
            // SAFETY: map memory, and the process has no other thread now.
            unsafe {
                (*thread).fault = (*old).fault;
                (*thread).base = (*old).base;
            }
        }
        if let (Some(thread), Some(process)) = (thread, PROCESSES.get_ptr_mut(tgid))
            // SAFETY: map memory.
            && unsafe { (*process).attached } != 0
        {
            // By its new id before by its old one: it may be all that there is.
            process::count_in(process, thread);
        }
        retire(tgid, old_tid);
    }
    if let Some(thread) = thread {
        // SAFETY: map memory, only this thread's.
        unsafe {
            (*thread).memory = memory_id(tgid, (*thread).process_start_ns, typed!(task, task_self_exec_id));
            // The memory of the program before is gone; what its last fault did is known all the same.
            (*thread).fault.flags |= FAULT_GONE;
            (*thread).mappings = [Mapping::NONE; MAPPINGS];
        }
        thread::remember_memory(thread, task);
        // SAFETY: map memory, only this thread's.
        page_table::zc_find_direct_map(unsafe { (&raw const (*thread).page_table).read_volatile() });
        // SAFETY: map memory, only this thread's.
        unsafe {
            if begins {
                (*thread).base = thread::costs_so_far(task);
            }
        }
        // The new program's own bytes are no call's.
        thread::storage_since(thread, task);
        send_exec(thread, task, tgid);
    }
    0
}

/// Ends the state of a thread whose task goes on under another name: its calls and rows are sent now, its other
/// counters are those of the task and come with the end of that.
#[inline(always)]
fn retire(tgid: u32, tid: u32) {
    let Some(thread) = THREADS.get_ptr_mut(tid) else { return };
    // SAFETY: map memory, and the process has no other thread now.
    let (start_ns, process_start_ns, calls, faults) =
        unsafe { ((*thread).start_ns, (*thread).process_start_ns, (*thread).calls, (*thread).user_faults) };
    let key = RowKey { thread_start_ns: start_ns, tid, path: Path::Thread as u8, ..RowKey::default() };
    if let Some(row) = new_totals(&key, tgid, process_start_ns) {
        row.own.calls = calls;
        row.transfers = faults;
        send_row(&key);
    }
    row::settle_all(thread, tid);
    send_rows(thread);
    // Nobody finds it under this name when it ends.
    if process::leave(thread)
        && let Some(process) = PROCESSES.get_ptr_mut(tgid)
    {
        process::count_out(process);
    }
    let _ = THREADS.remove(tid);
}

/// `sched_process_exit(struct task_struct *p, …)`, when a thread begins to end. Its last page fault is over then. The rest
/// is only used where the thread's last context switch cannot be seen: it still gives back its files and memory, and may
/// have to wait for that.
#[btf_tracepoint(function = "sched_process_exit")]
pub(crate) fn zc_exit(_ctx: BtfTracePointContext) -> i32 {
    exits();
    0
}

/// The same where programs of the other type can be preempted.
#[tracepoint]
pub(crate) fn zc_exit_unpreempted(_ctx: TracePointContext) -> u32 {
    exits();
    0
}

#[inline(always)]
fn exits() {
    let task = current();
    let tgid: u32 = typed!(task, task_tgid);
    if is_traced(tgid) {
        if let Some(thread) = thread::find(task) {
            fault::settle(thread);
        }
        if !sees_last_switch() {
            thread_ended(task, tgid);
        }
    }
}

/// Whether the program on `sched_switch` is attached; user space says so when it is.
#[inline(always)]
fn sees_last_switch() -> bool {
    // SAFETY: map memory.
    SESSION.get_ptr(0).is_some_and(|session| unsafe { (*session).sees_last_switch } != 0)
}

/// `include/linux/sched.h`; the second since Linux 6.4.
const PF_IO_WORKER: u32 = 0x10;
const PF_USER_WORKER: u32 = 0x4000;

/// Whether the kernel made this thread. A worker of `io_uring` takes its flag back before it ends (`io_worker_exit`), which
/// leaves it none before Linux 6.4; but no such thread has ever been in user mode (`copy_thread`).
#[inline(always)]
pub(super) fn is_kernels_own(task: Typed) -> bool {
    let flags: u32 = typed!(task, task_flags);
    if flags & (PF_IO_WORKER | PF_USER_WORKER) != 0 {
        return true;
    }
    let registers = user_registers(task);
    let (ip, sp): (u64, u64) = (typed!(registers, regs_ip), typed!(registers, regs_sp));
    ip == 0 && sp == 0
}

/// Whether this is a thread that the kernel made in a process which has ended, and that was accounted for: nobody
/// waits for the poller of a ring.
#[inline(always)]
pub(super) fn outlives_process(task: Typed) -> bool {
    is_kernels_own(task) && thread::find(task).is_some()
}

/// When the process of `task` started, as long as its first thread is there.
#[inline(always)]
fn leader_start_ns(task: Typed) -> u64 {
    let leader: Typed = pointer!(task, task_group_leader, task_type);
    if leader.is_null() { 0 } else { typed!(leader, task_start_boottime) }
}

/// Sends what is known of the running thread, which has ended, and of its process if that was its last. Not inlined, so
/// that its stack is not below what else its callers call.
#[inline(never)]
pub(super) fn thread_ended(task: Typed, tgid: u32) {
    // Read once: a thread that execs gives the first one its own id meanwhile (`exchange_tids` in `de_thread`).
    let tid: u32 = typed!(task, task_pid);
    let thread = thread::find_as(task, tid);
    let process_start_ns = match thread {
        // SAFETY: map memory.
        Some(thread) => unsafe { (*thread).process_start_ns },
        None => leader_start_ns(task),
    };
    let process = PROCESSES.get_ptr_mut(tgid);
    let is_attached = process.is_some_and(|process| process::was_attached(process));
    // What a thread has done before it was traced is not of the session.
    if thread.is_some() || !is_attached {
        send_totals(task, tid, tgid, process_start_ns, thread);
    }
    let mut leaves = !is_attached;
    if let Some(thread) = thread {
        row::settle_all(thread, tid);
        send_rows(thread);
        leaves |= process::leave(thread);
        let _ = THREADS.remove(tid);
    }
    // Workers of io_uring and vhost join a process without `sched_process_fork`.
    if is_kernels_own(task) || !leaves {
        return;
    }
    if process.is_none_or(process::count_out) {
        if let Some(process) = process {
            lose_requests(process);
        }
        process::end(tgid);
        if let Some(mut entry) = EVENTS.reserve::<ProcessRecord>(0) {
            write_process(entry.as_mut_ptr(), RecordKind::Exit, task, tgid, process_start_ns);
            entry.submit(wake_up());
        } else {
            lose(Loss::RingFull);
        }
    }
}

/// Requests of Linux AIO that nobody was seen to reap: libraries may take events from memory that the kernel shares, and
/// a process may end before it has asked.
#[inline(always)]
fn lose_requests(process: *const Process) {
    // SAFETY: map memory.
    let requests = unsafe { (*process).aio };
    if requests as i64 > 0 {
        lose_many(Loss::AioUnread, requests);
    }
}

/// The command that the session is about, when it execs for the first time.
#[inline(always)]
fn is_root() -> bool {
    let root = global!(CONFIG.root_pid);
    if root == 0 {
        return false;
    }
    // The number that user space knows, whatever PID namespace it is in.
    let mut ids = bpf_pidns_info { pid: 0, tgid: 0 };
    // SAFETY: `ids` has the size that is given.
    let status = unsafe {
        bpf_get_ns_current_pid_tgid(
            global!(CONFIG.pid_ns_device),
            global!(CONFIG.pid_ns_inode),
            &raw mut ids,
            size_of::<bpf_pidns_info>() as u32,
        )
    };
    if status != 0 || ids.tgid != root {
        return false;
    }
    match SESSION.get_ptr_mut(0) {
        // The same id may come again after the command has ended.
        // SAFETY: map memory.
        Some(session) => fetch_add(unsafe { &raw mut (*session).begun }, 1) == 0,
        None => false,
    }
}

#[inline(always)]
fn write_process(record: *mut ProcessRecord, kind: RecordKind, task: Typed, tgid: u32, start_ns: u64) {
    let parent: Typed = pointer!(task, task_real_parent, task_type);
    // SAFETY: `record` is ring buffer memory of this size, `comm` has 16 bytes.
    unsafe {
        (*record).header = kind.header();
        (*record).tgid = tgid;
        (*record).ppid = if parent.is_null() { 0 } else { typed!(parent, task_tgid) };
        (*record).start_ns = start_ns;
        (*record).cgroup_id = bpf_get_current_cgroup_id();
        (*record).exit_code = typed!(task, task_exit_code);
        (*record).reserved = 0;
        let comm = first_thread(task, start_ns).add(global!(OFFSETS.task_comm) as usize);
        bpf_probe_read_kernel((&raw mut (*record).comm).cast(), 16, comm.cast());
    }
}

/// The thread that has the name of the process, which others change for themselves (`PR_SET_NAME`). When the last
/// one ends the first one may be gone, and its memory be another's; its start tells.
#[inline(always)]
fn first_thread(task: Typed, start_ns: u64) -> Typed {
    let leader: Typed = pointer!(task, task_group_leader, task_type);
    if leader.is_null() || typed_at::<u64>(leader, global!(OFFSETS.task_start_boottime)) != start_ns {
        return task;
    }
    leader
}

#[inline(always)]
fn send_exec(thread: *mut Thread, task: Typed, tgid: u32) {
    let mm: Typed = pointer!(task, task_mm, mm_type);
    let mut exe = 0;
    if !mm.is_null() {
        let file = address_at(mm, global!(OFFSETS.mm_exe_file));
        if let Some(file) = object::identify(file) {
            exe = object::resolve(thread, &file).map_or(0, |(_, id)| id);
        }
    }
    let Some(mut entry) = EVENTS.reserve::<ExecRecord>(0) else {
        lose(Loss::RingFull);
        return;
    };
    let record = entry.as_mut_ptr();
    // SAFETY: ring buffer memory of this size.
    let process = unsafe { &raw mut (*record).process };
    write_process(process, RecordKind::Exec, task, tgid, leader_start_ns(task));
    // SAFETY: ring buffer memory of this size.
    unsafe {
        (*record).exe = exe;
        (*record).args_len = 0;
        if !mm.is_null() {
            let start: u64 = typed!(mm, mm_arg_start);
            let end: u64 = typed!(mm, mm_arg_end);
            let len = end.wrapping_sub(start);
            let kept = if len > ARGS_BYTES as u64 { ARGS_BYTES as u64 } else { len };
            let args = (&raw mut (*record).args).cast();
            if bpf_probe_read_user(args, kept as u32, start as *const c_void) == 0 {
                (*record).args_len = len as u32;
            }
        }
    }
    entry.submit(wake_up());
}

/// A new totals row, in which nothing is counted yet.
#[inline(always)]
fn new_totals(key: &RowKey, tgid: u32, process_start_ns: u64) -> Option<&'static mut RowValue> {
    if ROWS.insert(key, &RowValue::default(), u64::from(BPF_NOEXIST)).is_err() {
        lose(Loss::RowsFull);
        return None;
    }
    let row = ROWS.get_ptr_mut(key)?;
    // SAFETY: map memory, only this thread's.
    let row = unsafe { &mut *row };
    row.tgid = tgid;
    row.process_start_ns = process_start_ns;
    if has(COUNT_CALLS) {
        row.flags |= VALUE_CALLS_COUNTED;
    }
    if global!(OFFSETS.task_ioac_read_bytes) != 0 {
        row.flags |= VALUE_STORAGE_COUNTED;
    }
    // SAFETY: map memory.
    if SESSION.get_ptr(0).is_some_and(|session| unsafe { (*session).sees_user_faults } != 0) {
        row.flags |= VALUE_FAULTS_COUNTED;
    }
    Some(row)
}

/// Sends the totals of a thread's life as a row; without room in the ring they wait in `ROWS`.
#[inline(always)]
fn send_totals(task: Typed, tid: u32, tgid: u32, process_start_ns: u64, thread: Option<*mut Thread>) {
    let key = RowKey {
        thread_start_ns: typed!(task, task_start_boottime),
        tid,
        path: Path::Thread as u8,
        ..RowKey::default()
    };
    let Some(row) = new_totals(&key, tgid, process_start_ns) else { return };
    row.own.voluntary = typed!(task, task_nvcsw);
    row.own.involuntary = typed!(task, task_nivcsw);
    row.own.minor = typed!(task, task_min_flt);
    row.own.major = typed!(task, task_maj_flt);
    row.own.device_read_bytes = thread::read_bytes(task);
    if let Some(thread) = thread {
        // SAFETY: map memory, only this thread's.
        let thread = unsafe { &mut *thread };
        row.own.calls = thread.calls + u64::from(is_exiting(task));
        row.transfers = thread.user_faults;
        row.own.voluntary -= thread.base.voluntary;
        row.own.involuntary -= thread.base.involuntary;
        row.own.minor -= thread.base.minor;
        row.own.major -= thread.base.major;
        row.own.device_read_bytes -= thread.base.device_read_bytes;
    }
    send_row(&key);
}

/// The thread ends by a call of its own, which has no end to be seen.
#[inline(always)]
fn is_exiting(task: Typed) -> bool {
    const ENOSYS: i64 = 38;
    let registers = user_registers(task);
    let result: i64 = typed!(registers, regs_result);
    result == -ENOSYS && arch::is_exit(typed!(registers, regs_number))
}

/// Sends all rows of a thread that has ended.
#[inline(always)]
fn send_rows(thread: *mut Thread) {
    const ROWS_MAX: u32 = 1 << 20;
    // SAFETY: map memory.
    let mut next = unsafe { (*thread).rows };
    // SAFETY: `send_next` has the signature of a callback, and `next` outlives the loop.
    unsafe { bpf_loop(ROWS_MAX, send_next as *mut c_void, (&raw mut next).cast(), 0) };
}

/// Rows that are handed over at one switch: the scheduler waits.
const ROWS_AT_ONCE: u32 = 32;

/// Hands over rows of a thread that blocks, when user space has asked for them since the last time. They are records from then on, and
/// the thread begins new ones. Never where a thread was preempted: from Linux 7.0 on that can be within a program that adds to a row.
#[inline(always)]
pub(super) fn hand_over(thread: *mut Thread, tid: u32) {
    let now = epoch();
    // SAFETY: map memory, and its thread does nothing else now.
    let thread = unsafe { &mut *thread };
    if thread.epoch == now {
        return;
    }
    row::settle_and_drop_all(thread, tid);
    let mut next = thread.rows;
    // SAFETY: `send_next` has the signature of a callback, and `next` outlives the loop.
    unsafe { bpf_loop(ROWS_AT_ONCE, send_next as *mut c_void, (&raw mut next).cast(), 0) };
    thread.rows = next;
    if next.tid == 0 {
        thread.epoch = now;
    }
}

#[inline(never)]
extern "C" fn send_next(_index: u32, next: *mut RowKey) -> i64 {
    // SAFETY: `send_rows` passes its own.
    let next = unsafe { &mut *next };
    if next.tid == 0 {
        return 1;
    }
    let key = *next;
    let Some(row) = ROWS.get_ptr(&key) else {
        next.tid = 0;
        return 1;
    };
    // SAFETY: map memory.
    *next = unsafe { (*row).next };
    send_row(&key);
    0
}

/// Moves a row from `ROWS` to the ring. Without room it stays, and user space finds it there at the end: the
/// key names the thread for good.
#[inline(never)]
fn send_row(key: &RowKey) -> u32 {
    let Some(row) = ROWS.get_ptr(key) else { return 0 };
    let Some(mut entry) = EVENTS.reserve::<RowRecord>(0) else { return 0 };
    let record = entry.as_mut_ptr();
    // SAFETY: ring buffer memory of this size; both sides are `RowValue`.
    unsafe {
        (*record).header = RecordKind::Row.header();
        (*record).key = *key;
        bpf_probe_read_kernel((&raw mut (*record).value).cast(), size_of::<RowValue>() as u32, row.cast());
    }
    entry.submit(wake_up());
    let _ = ROWS.remove(key);
    1
}
