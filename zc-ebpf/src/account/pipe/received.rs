//! What comes out of a socket into a pipe: in the pages that it was received in, or copied.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::bpf_loop;
use zc_common::thread::Thread;

use super::Move;
use crate::{
    kernel::{address_at, current, global, probe, probe_at},
    object,
};

/// How many of the bytes that a call has spliced out of a socket into its pipe are in the pages that they were received in: all, or 0
/// when that is not sure. A global function, as above.
///
/// Those in the linear part of a received buffer are copied, if its memory cannot be given away, to what the
/// socket has for copies (`linear_to_page`). The last such copy was made there.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn zc_pipe_received(thread: *mut Thread, run: *mut Move) -> u64 {
    if thread.is_null() || run.is_null() || global!(OFFSETS.task_task_frag) == 0 {
        return 0;
    }
    // SAFETY: this CPU's, and nothing interrupts it to begin another.
    let run = unsafe { &mut *run };
    try_received(thread, run).unwrap_or(0)
}

#[inline(always)]
fn try_received(thread: *mut Thread, run: &mut Move) -> Option<u64> {
    let sock = object::sock_of(thread, run.from.fd)?;
    let pipe: u64 = probe!(run.into.pipe.inode, inode_i_pipe)?;
    let (head, ring_size): (u32, u32) = (probe!(pipe, pipe_head)?, probe!(pipe, pipe_ring_size)?);
    // `struct page_frag`: the page comes first.
    let mut received = Received {
        buffers: probe!(pipe, pipe_bufs)?,
        head,
        mask: ring_size.wrapping_sub(1),
        left: run.bytes,
        copies: [address_at(current(), global!(OFFSETS.task_task_frag)), probe!(sock, sock_sk_frag)?],
        is_copied: 0,
    };
    // SAFETY: `received_next` has the signature of a callback, and `received` is its context.
    unsafe { bpf_loop(RECEIVED_MAX, received_next as *mut c_void, (&raw mut received).cast(), 0) };
    Some(if received.left == 0 && received.is_copied == 0 { run.bytes } else { 0 })
}

/// How many slots of a pipe one call fills that are looked at.
const RECEIVED_MAX: u32 = 1024;

/// A walk through what a call has put into a pipe, from the last slot to the first.
#[repr(C)]
struct Received {
    buffers: u64,
    head: u32,
    mask: u32,
    left: u64,
    copies: [u64; 2],
    is_copied: u64,
}

#[inline(never)]
extern "C" fn received_next(_index: u32, received: *mut c_void) -> i64 {
    // SAFETY: what `bpf_loop` was given.
    let received = unsafe { &mut *received.cast::<Received>() };
    received.head = received.head.wrapping_sub(1);
    let size = global!(OFFSETS.pipe_buffer_private) + 8;
    let buffer = received.buffers + u64::from(received.head & received.mask) * u64::from(size);
    // `page` is the first member.
    let page: u64 = probe_at(buffer).unwrap_or(0);
    let len: u32 = probe!(buffer, pipe_buffer_len).unwrap_or(0);
    let len = u64::from(len);
    if len == 0 || len > received.left || page == received.copies[0] || page == received.copies[1] {
        received.is_copied = 1;
        return 1;
    }
    received.left -= len;
    i64::from(received.left == 0)
}
