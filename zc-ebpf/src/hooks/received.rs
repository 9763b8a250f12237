//! What is copied out of the buffers of sockets.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

use crate::{
    account::received,
    arch,
    kernel::{alone, current, typed, user_registers},
    maps::is_traced,
};

/// `skb_copy_datagram_iovec(const struct sk_buff *buffer, int length)`, by who receives, before the bytes of one buffer are
/// copied (`skb_copy_datagram_iter`). Not fired when they are spliced or mapped.
#[btf_tracepoint(function = "skb_copy_datagram_iovec")]
pub(crate) fn zc_received(ctx: BtfTracePointContext) -> i32 {
    let task = current();
    if !is_traced(typed!(task, task_tgid)) {
        return 0;
    }
    let number: u64 = typed!(user_registers(task), regs_number);
    if arch::receives(number) {
        let _alone = alone();
        received::add(typed!(task, task_pid), ctx.arg(1));
    }
    0
}
