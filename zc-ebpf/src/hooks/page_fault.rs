//! Page faults: `exceptions:page_fault_user` and `page_fault_kernel` (of x86; other architectures
//! have them only lately, or not at all).

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

use crate::{
    kernel::{current, typed},
    maps::is_traced,
    thread,
};

/// A fault taken in user mode: an exception, two mode switches.
/// `page_fault_user(unsigned long address, struct pt_regs *regs, unsigned long error_code)`.
#[btf_tracepoint(function = "page_fault_user")]
pub(crate) fn zc_fault_user(_ctx: BtfTracePointContext) -> i32 {
    let task = current();
    let tgid: u32 = typed!(task, task_tgid);
    if is_traced(tgid)
        && let Some(thread) = thread::find_or_create(task, tgid)
    {
        // SAFETY: map memory, only this thread's.
        unsafe { (*thread).user_faults += 1 };
    }
    0
}

/// A fault taken in the kernel, as when a call copies into memory that is not there yet. It is counted with
/// the call in whose time it falls. Arguments as above.
#[btf_tracepoint(function = "page_fault_kernel")]
pub(crate) fn zc_fault_kernel(_ctx: BtfTracePointContext) -> i32 {
    let task = current();
    let tgid: u32 = typed!(task, task_tgid);
    if is_traced(tgid) {
        thread::touch(task);
    }
    0
}
