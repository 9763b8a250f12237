//! Context switches: which call each of them falls into, and which is a thread's last. The totals of a thread
//! are in its task.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

use super::process;
use crate::{
    account::received,
    fault,
    kernel::{Typed, typed},
    maps::is_traced,
    thread,
};

/// The last switch of a task (`do_task_dead`); its counters do not change any more.
const TASK_DEAD: u32 = 0x80;

/// `sched_switch(bool preempt, struct task_struct *prev, struct task_struct *next, unsigned int prev_state)`,
/// with the fourth argument since Linux 5.18. Before it is called, `__schedule` has counted the switch as
/// voluntary when the task was not preempted and is not runnable any more, and else as involuntary.
#[btf_tracepoint(function = "sched_switch")]
pub(crate) fn zc_sched_switch(ctx: BtfTracePointContext) -> i32 {
    let task: Typed = ctx.arg(1);
    let tgid: u32 = typed!(task, task_tgid);
    let state: u32 = ctx.arg(3);
    if !is_traced(tgid) && (state & TASK_DEAD == 0 || !process::outlives_process(task)) {
        return 0;
    }
    if state & TASK_DEAD != 0 {
        process::thread_ended(task, tgid);
        return 0;
    }
    if process::is_kernels_own(task) {
        // It may end after its process, and is known by its state alone then.
        thread::find_or_create(task, tgid);
    }
    received::keep(task);
    let preempted = ctx.arg::<u64>(0) & 0xFF != 0;
    let voluntary = !preempted && state != 0;
    let touched = thread::touch(task);
    let Some(thread) = touched.or_else(|| thread::find(task)) else { return 0 };
    // SAFETY: map memory, and its thread does nothing else now.
    unsafe {
        if touched.is_some() {
            if voluntary {
                (*thread).call_voluntary += 1;
            } else {
                (*thread).call_involuntary += 1;
            }
        } else if fault::in_progress(thread, task) {
            if voluntary {
                (*thread).fault.voluntary += 1;
            } else {
                (*thread).fault.involuntary += 1;
            }
        }
    }
    if voluntary {
        process::hand_over(thread, typed!(task, task_pid));
    }
    0
}
