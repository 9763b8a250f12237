//! Storage: I/O that really goes to a device, and which call or page fault it is for.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

use crate::{
    kernel::{current, typed, user_registers},
    maps::is_traced,
    thread,
};

/// `block_bio_queue(struct bio *bio)`, in the context of whoever submits. It is not fired for what the page cache
/// has.
#[btf_tracepoint(function = "block_bio_queue")]
pub(crate) fn zc_storage(_ctx: BtfTracePointContext) -> i32 {
    let task = current();
    let tgid: u32 = typed!(task, task_tgid);
    if !is_traced(tgid) {
        return 0;
    }
    let Some(thread) = thread::find_or_create(task, tgid) else { return 0 };
    let bytes = thread::storage_since(thread, task);
    if bytes == 0 {
        return 0;
    }
    if let Some(thread) = thread::touch(task) {
        // SAFETY: map memory, only this thread's.
        unsafe { (*thread).call_device_read_bytes += bytes };
    } else if thread::is_outside_calls(user_registers(task)) {
        // SAFETY: map memory, only this thread's.
        unsafe { (*thread).fault_device_read_bytes += bytes };
    }
    // What else reads (exec, a directory, read-ahead that was asked for) is in no row, only in the thread's total.
    0
}
