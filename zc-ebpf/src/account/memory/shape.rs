//! What a call says of its user memory.

use zc_common::{pair::Piece, thread::Thread};

/// How the user memory of a call is described.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Shape {
    /// One buffer.
    Buffer = 0,
    /// `struct iovec` after `struct iovec`.
    Vector = 1,
    /// It is not known where it was: nothing pairs.
    Nowhere = 2,
    /// A `struct msghdr`, which has a vector.
    Message = 3,
    /// `struct mmsghdr` after `struct mmsghdr`, each with its own number of bytes.
    Messages = 4,
}

/// The user memory of a call.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Memory {
    /// Of the buffer, or of its description.
    pub(in super::super) address: u64,
    pub(in super::super) shape: Shape,
    /// How many messages.
    pub(in super::super) messages: u32,
}

impl Memory {
    #[inline(always)]
    pub(crate) fn new(shape: Shape, address: u64) -> Self {
        Self { address, shape, messages: 1 }
    }

    /// The first `messages` of those at `address`.
    #[inline(always)]
    pub(crate) fn of_messages(address: u64, messages: u32) -> Self {
        Self { address, shape: Shape::Messages, messages }
    }

    /// The part of one buffer that lies in its first granule, when that is all of it.
    #[inline(always)]
    pub(super) fn whole_piece(&self, thread: *mut Thread, bytes: u64) -> Option<Piece> {
        if self.shape != Shape::Buffer {
            return None;
        }
        // SAFETY: map memory, only this thread's.
        let piece = Piece::first(unsafe { (*thread).memory }, self.address, bytes);
        (piece.len() == bytes).then_some(piece)
    }
}
