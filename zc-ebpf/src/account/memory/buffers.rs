//! From the description of a call's memory to its buffers: vectors, and messages that have vectors.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::bpf_loop;
use zc_common::loss::Loss;

use super::{Memory, Shape, WALK, Walk, place};
use crate::{
    kernel::{lowest_bit, probe_user},
    maps::lose,
};

/// Of `struct user_msghdr`: `msg_iov`, followed by `msg_iovlen`.
const MSG_IOV: u64 = 16;
/// Of `struct mmsghdr`: `msg_len`, behind the `user_msghdr`.
const MSG_LEN: u64 = 56;
/// Size of a `struct mmsghdr`.
const MMSGHDR_BYTES: u64 = 64;

impl Walk {
    /// Begins with the first of the buffers that hold the `bytes` bytes of a call.
    #[inline(always)]
    pub(super) fn begin_buffers(&mut self, memory: &Memory, bytes: u64) {
        self.address = memory.address;
        self.vector = memory.address;
        self.entries = u64::MAX;
        self.message = memory.address;
        self.messages = 0;
        self.left = 0;
        self.left_after = bytes;
        match memory.shape {
            Shape::Buffer => {
                self.left = bytes;
                self.left_after = 0;
            }
            Shape::Vector => {}
            Shape::Nowhere => self.left_after = 0,
            Shape::Message => self.begin_message(memory.address, bytes),
            Shape::Messages => {
                self.left_after = 0;
                self.messages = memory.messages.into();
            }
        }
    }

    /// Goes on to the vector of a message.
    #[inline(always)]
    fn begin_message(&mut self, message: u64, bytes: u64) {
        if let Some([vector, entries]) = probe_user::<[u64; 2]>(message + MSG_IOV) {
            self.vector = vector;
            self.entries = entries;
            self.left_after = bytes;
        } else {
            lose(Loss::IovUnread);
            self.left_after = 0;
        }
    }

    /// Goes on to the next message. One that cannot be read has no bytes.
    #[inline(always)]
    fn next_message(&mut self) {
        match probe_user::<u32>(self.message + MSG_LEN) {
            Some(0) => {}
            Some(bytes) => self.begin_message(self.message, bytes.into()),
            None => lose(Loss::IovUnread),
        }
        self.message += MMSGHDR_BYTES;
        self.messages -= 1;
    }

    #[inline(always)]
    fn next_entry(&mut self) {
        if self.entries == 0 {
            // The message had more bytes than there was room for (`MSG_TRUNC`).
            self.left_after = 0;
            return;
        }
        let Some([base, len]) = probe_user::<[u64; 2]>(self.vector) else {
            lose(Loss::IovUnread);
            self.left_after = 0;
            return;
        };
        self.vector += 16;
        self.entries -= 1;
        self.address = base;
        self.left = if len < self.left_after { len } else { self.left_after };
        self.left_after -= self.left;
    }
}

/// Goes on to the next buffer when one is used up; 0 when there is none. One without bytes is one too. A global
/// function: the verifier looks at it once, and not again at each call.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn zc_next_buffer(walk: *mut Walk) -> u64 {
    if walk.is_null() {
        return 0;
    }
    // SAFETY: this CPU's, and nothing interrupts a walk to begin another.
    let walk = unsafe { &mut *walk };
    if walk.left_after == 0 {
        if walk.messages == 0 {
            return 0;
        }
        walk.next_message();
    }
    if walk.left_after != 0 {
        walk.next_entry();
    }
    1
}

/// How many buffers of a call are measured, and how many messages: those that may be truncated, one by one.
const MEASURED_MAX: u32 = 1 << 17;

/// How many bytes of a call are in the memory of its messages. `limit` is what the call returned, of one message;
/// with `MSG_TRUNC` that, and `msg_len`, are the bytes that there were.
#[inline(always)]
pub(crate) fn bytes_of_messages(memory: &Memory, limit: u64) -> u64 {
    let Some(walk) = WALK.get_ptr_mut(0) else { return 0 };
    // SAFETY: this CPU's, and nothing interrupts a walk to begin another.
    unsafe {
        (*walk).begin_buffers(memory, limit);
        (*walk).taken = (*walk).left;
        (*walk).left = 0;
        // `measure_next` has the signature of a callback.
        bpf_loop(MEASURED_MAX, measure_next as *mut c_void, core::ptr::null_mut(), 0);
    }
    let Some(walk) = place() else { return 0 };
    if !walk.is_done() {
        lose(Loss::IovUnread);
    }
    walk.taken
}

#[inline(never)]
extern "C" fn measure_next(_index: u32, _context: *mut c_void) -> i64 {
    let Some(walk) = WALK.get_ptr_mut(0) else { return 1 };
    if lowest_bit(zc_next_buffer(walk)) == 0 {
        return 1;
    }
    // SAFETY: as above.
    unsafe {
        (*walk).taken += (*walk).left;
        (*walk).left = 0;
    }
    0
}
