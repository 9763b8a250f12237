//! What is left to do when a call has been counted, and is done by the program itself.
//!
//! All functions that are below one another have 512 bytes of stack together, unless the kernel gives a program a stack
//! of its own (Linux 6.13, where the processor's architecture can). So what counts calls does not call what walks through
//! memory or pipes: it says what there is to do.

use zc_common::thread::Thread;

use super::{memory, pipe, zerocopy};

/// Memory was filled; the walk through it has begun.
pub(super) const PUT: u64 = 1;
/// Memory was sent; the walk through it has begun.
pub(super) const TAKE: u64 = 2;
/// Bytes went into a pipe.
pub(super) const PIPE_IN: u64 = 4;
/// Bytes came out of a pipe.
pub(super) const PIPE_OUT: u64 = 8;
/// The kernel will report on what was sent, and everything of it is in its rows.
pub(super) const SENT: u64 = 16;

/// Does what is left of a call, whose pipe, if it has one, is its first argument.
#[inline(always)]
pub(super) fn finish_call(thread: *mut Thread, left: u64, bytes: u64) {
    if left == 0 {
        return;
    }
    if left & (PIPE_IN | PIPE_OUT) != 0 {
        pipe::zc_pipe_passed(thread, bytes, left & PIPE_IN);
    }
    finish(thread, left);
    if left & SENT != 0 {
        zerocopy::zc_sent(thread);
    }
}

/// The same, of what has no pipe.
#[inline(always)]
pub(super) fn finish(thread: *mut Thread, left: u64) {
    if left & PUT != 0 {
        memory::zc_put_walk();
    }
    if left & TAKE != 0 {
        memory::zc_take_walk(thread);
    }
}
