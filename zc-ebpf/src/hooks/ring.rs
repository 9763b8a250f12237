//! `io_uring`: requests and their completions.

use aya_ebpf::{EbpfContext as _, macros::btf_tracepoint, programs::BtfTracePointContext};
use zc_common::{loss::Loss, ring::Form};

use super::process::is_kernels_own;
use crate::{
    account::ring::{self, Completion},
    kernel::{address_at, alone, current, global, probe_at, typed},
    maps::{is_traced, lose},
    thread,
};

/// `io_uring_complete(struct io_ring_ctx *ctx, void *req, struct io_uring_cqe *cqe)`, before Linux 6.16
/// `(void *ctx, void *req, u64 user_data, int res, unsigned cflags, u64 extra1, u64 extra2)`. The form that
/// this kernel does not have is not even verified.
#[btf_tracepoint(function = "io_uring_complete")]
pub(crate) fn zc_ring_complete(ctx: BtfTracePointContext) -> i32 {
    let task = current();
    let tgid: u32 = typed!(task, task_tgid);
    if !is_traced(tgid) {
        return 0;
    }
    let _alone = alone();
    // As numbers: some kernels tell the type of what is passed.
    let (ring, request) = (address_at(ctx.as_ptr().cast(), 0), address_at(ctx.as_ptr().cast(), 8));
    let completion = match Form::of(global!(CONFIG.ring_arguments)) {
        Some(Form::Record) => {
            // The layout is ABI: user_data, res, flags.
            let record: u64 = ctx.arg(2);
            let (Some(user_data), Some(rest)) = (probe_at::<u64>(record), probe_at::<u64>(record + 8)) else {
                return 0;
            };
            Completion { ring, request, user_data, result: rest as i32, flags: (rest >> 32) as u32 }
        }
        Some(Form::Values) => {
            let (user_data, result, flags): (u64, i32, u32) = (ctx.arg(2), ctx.arg(3), ctx.arg(4));
            Completion { ring, request, user_data, result, flags }
        }
        None => return 0,
    };
    ring::completed(task, &completion);
    0
}

/// `io_uring_submit_req(struct io_kiocb *req)`, when the request has taken its arguments.
#[btf_tracepoint(function = "io_uring_submit_req")]
pub(crate) fn zc_ring_submit(ctx: BtfTracePointContext) -> i32 {
    let task = current();
    let tgid: u32 = typed!(task, task_tgid);
    if is_traced(tgid) {
        let _alone = alone();
        // A poller may do nothing else that is seen, and yet has its share in what the process costs.
        if is_kernels_own(task) {
            thread::find_or_create(task, tgid);
        }
        ring::submitted(address_at(ctx.as_ptr().cast(), 0));
    }
    0
}

/// `io_uring_cqe_overflow(void *ctx, unsigned long long user_data, s32 res, u32 cflags, void *ocqe)`: a completion that
/// found its queue full waits elsewhere, and is not traced as one, then or later.
#[btf_tracepoint(function = "io_uring_cqe_overflow")]
pub(crate) fn zc_ring_overflow(ctx: BtfTracePointContext) -> i32 {
    let task = current();
    let tgid: u32 = typed!(task, task_tgid);
    let result: i32 = ctx.arg(2);
    if is_traced(tgid) && result > 0 {
        lose(Loss::RingUnseen);
    }
    0
}
