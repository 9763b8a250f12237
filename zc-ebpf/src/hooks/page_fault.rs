//! Page faults: `exceptions:page_fault_user` and `page_fault_kernel` (of x86; other architectures
//! have them only lately, or not at all), and what they map of files.

use aya_ebpf::{
    macros::{btf_tracepoint, tracepoint},
    programs::{BtfTracePointContext, TracePointContext},
};
use zc_common::fault::FAULT_IN_CALL;

use crate::{
    arch, fault,
    kernel::{current, typed, user_registers},
    maps::is_traced,
    thread,
};

/// A fault taken in user mode: an exception, two mode switches.
/// `page_fault_user(unsigned long address, struct pt_regs *regs, unsigned long error_code)`.
#[btf_tracepoint(function = "page_fault_user")]
pub(crate) fn zc_fault_user(ctx: BtfTracePointContext) -> i32 {
    let task = current();
    let tgid: u32 = typed!(task, task_tgid);
    if is_traced(tgid)
        && let Some(thread) = thread::find_or_create(task, tgid)
    {
        // SAFETY: map memory, only this thread's.
        unsafe { (*thread).user_faults += 1 };
        fault::begin(thread, ctx.arg(0), ctx.arg(2), 0);
    }
    0
}

/// A fault taken in the kernel, as when a call copies into memory that is not there yet. It is counted with
/// the call in whose time it falls, and with the file that it maps. Arguments as above.
#[btf_tracepoint(function = "page_fault_kernel")]
pub(crate) fn zc_fault_kernel(ctx: BtfTracePointContext) -> i32 {
    let task = current();
    let tgid: u32 = typed!(task, task_tgid);
    if !is_traced(tgid) {
        return 0;
    }
    thread::touch(task);
    let address: u64 = ctx.arg(0);
    let number: u64 = typed!(user_registers(task), regs_number);
    // Within exec, memory is already that of the next program, of which nothing is known yet.
    if (address as i64) > 0
        && !arch::is_exec(number)
        && let Some(thread) = thread::find(task)
    {
        fault::begin(thread, address, ctx.arg(2), FAULT_IN_CALL);
    }
    0
}

/// Pages of a file that are in the page cache were mapped around one that was touched:
/// `mm_filemap_map_pages(struct address_space *mapping, pgoff_t start, pgoff_t end)`, since Linux 6.12.
#[btf_tracepoint(function = "mm_filemap_map_pages")]
pub(crate) fn zc_map_pages(_ctx: BtfTracePointContext) -> i32 {
    mapped_around();
    0
}

/// The same where programs of the other type can be preempted.
#[tracepoint]
pub(crate) fn zc_map_pages_unpreempted(_ctx: TracePointContext) -> u32 {
    mapped_around();
    0
}

#[inline(always)]
fn mapped_around() {
    let task = current();
    let tgid: u32 = typed!(task, task_tgid);
    if is_traced(tgid)
        && let Some(thread) = thread::find(task)
    {
        fault::zc_fault_around(thread);
    }
}
