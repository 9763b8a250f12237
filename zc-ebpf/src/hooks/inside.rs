//! Functions inside the kernel that copy bytes or hand on pages, for calls that do without user memory.
//!
//! Each program runs when its function has returned, and adds what that has returned to the thread's account of the call
//! in progress; at the call's end it is compared with the call's own result (`zc_common::inside`). Which of them there are
//! differs between kernels: `zc-user/src/probe/plan.rs` chooses.

use aya_ebpf::{macros::fexit, programs::FExitContext};
use zc_common::{inside::Inside, thread::Thread};

use crate::{
    arch,
    kernel::{Typed, current, global, typed, user_registers},
    maps::is_traced,
    thread,
};

/// `filemap_splice_read(file, position, pipe, length, flags)`: pages of the page cache go into a pipe (Linux 6.5).
#[fexit(function = "filemap_splice_read")]
pub(crate) fn zc_came_file(ctx: FExitContext) -> i32 {
    add(&ctx, moved, |inside| &mut inside.came)
}

/// `shmem_file_splice_read`, with the same arguments: the same of tmpfs and of shared memory (Linux 6.5).
#[fexit(function = "shmem_file_splice_read")]
pub(crate) fn zc_came_shmem(ctx: FExitContext) -> i32 {
    add(&ctx, moved, |inside| &mut inside.came)
}

/// `filemap_read(request, iterator, already_read)`: when the iterator is that of a pipe, which there was up to Linux 6.4,
/// pages go there by reference (`copy_page_to_iter_pipe`).
#[fexit(function = "filemap_read")]
pub(crate) fn zc_came_iterator(ctx: FExitContext) -> i32 {
    let read = |ctx: &FExitContext| {
        let already: u64 = ctx.arg(2);
        if is_for_pipe(ctx) { moved(ctx).saturating_sub(already) } else { 0 }
    };
    add(&ctx, read, |inside| &mut inside.came)
}

/// `shmem_file_read_iter(request, iterator)`: the same of tmpfs and of shared memory.
#[fexit(function = "shmem_file_read_iter")]
pub(crate) fn zc_came_shmem_iterator(ctx: FExitContext) -> i32 {
    let read = |ctx: &FExitContext| if is_for_pipe(ctx) { moved(ctx) } else { 0 };
    add(&ctx, read, |inside| &mut inside.came)
}

/// `generic_perform_write(request, iterator)`: bytes are copied to the page cache.
#[fexit(function = "generic_perform_write")]
pub(crate) fn zc_written(ctx: FExitContext) -> i32 {
    add(&ctx, moved, |inside| &mut inside.written)
}

/// `iomap_file_buffered_write(request, iterator, …)`: the same, of file systems that are built on iomap (XFS).
#[fexit(function = "iomap_file_buffered_write")]
pub(crate) fn zc_written_iomap(ctx: FExitContext) -> i32 {
    add(&ctx, moved, |inside| &mut inside.written)
}

/// `skb_splice_from_iter(buffer, iterator, most, …)`: pages become part of a socket's buffer (Linux 6.5).
#[fexit(function = "skb_splice_from_iter")]
pub(crate) fn zc_handed(ctx: FExitContext) -> i32 {
    let handed = |ctx: &FExitContext| if has_owner(ctx) { moved(ctx) } else { 0 };
    add(&ctx, handed, |inside| &mut inside.handed)
}

/// `skb_append_pagefrags(buffer, page, offset, size, …)`: the same, of one page; returns 0 when it is. Before Linux 6.5.
#[fexit(function = "skb_append_pagefrags")]
pub(crate) fn zc_handed_page(ctx: FExitContext) -> i32 {
    let handed = |ctx: &FExitContext| {
        let size: u32 = ctx.arg(3);
        if has_owner(ctx) && is_done(ctx) { size.into() } else { 0 }
    };
    add(&ctx, handed, |inside| &mut inside.handed)
}

/// `generic_remap_file_range_prep(from, position, to, position, length, flags)`: returns 0 when the file system may now share
/// the extents of one file with another.
#[fexit(function = "generic_remap_file_range_prep")]
pub(crate) fn zc_shared(ctx: FExitContext) -> i32 {
    add(&ctx, |ctx| is_done(ctx).into(), |inside| &mut inside.shared)
}

/// Adds what a function has done to the account of the call in progress, if there is one.
#[inline(always)]
fn add(
    ctx: &FExitContext,
    amount: impl FnOnce(&FExitContext) -> u64,
    of: impl FnOnce(&mut Inside) -> &mut u64,
) -> i32 {
    if let Some(thread) = caller() {
        // SAFETY: map memory, only this thread's.
        *of(unsafe { &mut (*thread).inside }) += amount(ctx);
    }
    0
}

/// The running thread, when it is traced and in a call that may do without user memory. All else is none of our business,
/// and costs no more than to find that out.
#[inline(always)]
fn caller() -> Option<*mut Thread> {
    const ENOSYS: i64 = 38;
    let task = current();
    let tgid: u32 = typed!(task, task_tgid);
    if !is_traced(tgid) {
        return None;
    }
    let registers = user_registers(task);
    let number: u64 = typed!(registers, regs_number);
    // What it is as long as the call is in progress, see `thread::touch`.
    let result: i64 = typed!(registers, regs_result);
    if !arch::hands_on(number) || result != -ENOSYS || arch::is_compat(task, number) {
        return None;
    }
    thread::find_or_create(task, tgid)
}

/// How many bytes a function says that it has moved; 0 when it failed.
#[inline(always)]
fn moved(ctx: &FExitContext) -> u64 {
    let result: i64 = ctx.ret().unwrap_or(0);
    if result > 0 { result as u64 } else { 0 }
}

/// Whether the iterator, the second argument, is that of a pipe.
#[inline(always)]
fn is_for_pipe(ctx: &FExitContext) -> bool {
    let iterator: Typed = ctx.arg(1);
    let kind: u8 = typed!(iterator, iterator_type);
    u32::from(kind) == global!(OFFSETS.iterator_pipe)
}

/// Whether the buffer, the first argument, is of a socket already. Those of Unix sockets are (`sock_alloc_send_pskb`); those of
/// TCP are not before they are sent, are many more, and are looked at then.
#[inline(always)]
fn has_owner(ctx: &FExitContext) -> bool {
    let buffer: Typed = ctx.arg(0);
    let sock: u64 = typed!(buffer, skb_sk);
    sock != 0
}

/// Whether a function has returned 0, as an `int`.
#[inline(always)]
fn is_done(ctx: &FExitContext) -> bool {
    let result: i64 = ctx.ret().unwrap_or(-1);
    result as i32 == 0
}
