//! Ends of system calls.
//!
//! Only ends: there the saved registers still hold the number and the arguments of the call, and the result
//! is known, so that nothing has to be kept from its beginning to its end.

use aya_ebpf::{
    macros::{btf_tracepoint, tracepoint},
    programs::{BtfTracePointContext, TracePointContext},
};

use crate::{
    account,
    kernel::{Typed, current, typed, user_registers},
    maps::is_traced,
};

/// Every call of the machine: `sys_exit(struct pt_regs *regs, long ret)`.
///
/// Runs through `bpf_trace_run`, which nothing but itself can keep from running; a program on a
/// `syscalls:*` tracepoint is skipped while another one of that type is under way on the same CPU.
#[btf_tracepoint(function = "sys_exit")]
pub(crate) fn zc_sys_exit(ctx: BtfTracePointContext) -> i32 {
    let task = current();
    let tgid: u32 = typed!(task, task_tgid);
    if is_traced(tgid) {
        let registers: Typed = ctx.arg(0);
        account::call_ended(task, tgid, registers);
    }
    0
}

/// The calls that move bytes: attached to `syscalls:sys_exit_read` and so on, when calls of other kinds are
/// not counted.
#[tracepoint]
pub(crate) fn zc_exit_data(_ctx: TracePointContext) -> u32 {
    let task = current();
    let tgid: u32 = typed!(task, task_tgid);
    if is_traced(tgid) {
        account::call_ended(task, tgid, user_registers(task));
    }
    0
}
