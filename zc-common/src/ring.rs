//! Requests of `io_uring`: which of them move bytes, and where they say from which memory.
//!
//! Numbers of requests and their flags are ABI (`include/uapi/linux/io_uring.h`). What a completion brings depends on
//! the request: the result of an `openat` is a descriptor, that of a `poll` a mask. So only what is listed here counts.

/// Where the bytes of a request go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Into user memory.
    Read,
    /// Out of user memory.
    Write,
}

/// Where a request keeps its memory, and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arguments {
    /// `io_rw.addr` is a buffer.
    Buffer,
    /// `io_rw.addr` is an address in a registered buffer. It moves on with the bytes at files that can only be read and
    /// written in one buffer (`loop_rw_iter`).
    Fixed,
    /// `io_rw.addr` is a vector.
    Vector,
    /// `io_sr_msg.buf` is a buffer, of which the first `done_io` bytes are behind it.
    Socket,
    /// `io_sr_msg.umsg` is a `struct msghdr`.
    Message,
}

/// A request that moves bytes between its file and user memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Where to.
    pub way: Way,
    /// The memory.
    pub arguments: Arguments,
    /// Pages may have been handed on instead of copied.
    pub is_zerocopy: bool,
}

/// `IORING_OP_READV`, `IORING_OP_WRITEV`.
const READV: u8 = 1;
const WRITEV: u8 = 2;
const READ_FIXED: u8 = 4;
const WRITE_FIXED: u8 = 5;
const SENDMSG: u8 = 9;
/// `IORING_OP_RECVMSG`.
pub const RECVMSG: u8 = 10;
const READ: u8 = 22;
const WRITE: u8 = 23;
const SEND: u8 = 26;
/// `IORING_OP_RECV`.
pub const RECV: u8 = 27;
/// `IORING_OP_SPLICE`.
pub const SPLICE: u8 = 30;
/// `IORING_OP_TEE`.
pub const TEE: u8 = 33;
const SEND_ZC: u8 = 47;
const SENDMSG_ZC: u8 = 48;
const READ_MULTISHOT: u8 = 49;
/// `IORING_OP_RECV_ZC`, whose completions no tracepoint shows (`io_zcrx_queue_cqe`).
const RECV_ZC: u8 = 58;
const READV_FIXED: u8 = 60;
const WRITEV_FIXED: u8 = 61;

/// What a request of this number moves, if it moves bytes between a file and user memory.
#[inline(always)]
pub const fn operation(opcode: u8) -> Option<Operation> {
    use Arguments::{Buffer, Fixed, Message, Socket, Vector};
    let (way, arguments) = match opcode {
        READ | READ_MULTISHOT => (Way::Read, Buffer),
        READ_FIXED => (Way::Read, Fixed),
        READV | READV_FIXED => (Way::Read, Vector),
        RECV => (Way::Read, Socket),
        RECVMSG => (Way::Read, Message),
        WRITE => (Way::Write, Buffer),
        WRITE_FIXED => (Way::Write, Fixed),
        WRITEV | WRITEV_FIXED => (Way::Write, Vector),
        SEND | SEND_ZC => (Way::Write, Socket),
        SENDMSG | SENDMSG_ZC => (Way::Write, Message),
        _ => return None,
    };
    Some(Operation { way, arguments, is_zerocopy: matches!(opcode, SEND_ZC | SENDMSG_ZC) })
}

/// A request keeps its flags of submission in the lowest bits of its own (`REQ_F_FIXED_FILE` and so on): its descriptor is
/// the index of a registered file.
pub const FIXED_FILE: u32 = 1;
/// The next request begins when this one has ended.
pub const LINK: u32 = 1 << 2;
/// Likewise, also when it has failed.
pub const HARDLINK: u32 = 1 << 3;
/// The kernel chooses the buffer.
pub const BUFFER_SELECT: u32 = 1 << 5;
/// No completion is posted when it succeeds.
pub const CQE_SKIP_SUCCESS: u32 = 1 << 6;

/// `io_splice.flags`: the descriptor of the source is the index of a registered file (`SPLICE_F_FD_IN_FIXED`).
pub const SPLICE_IN_FIXED: u32 = 1 << 31;

/// `io_sr_msg.flags`: one request receives again and again.
pub const RECV_MULTISHOT: u16 = 1 << 1;
/// `io_sr_msg.flags`: one completion for several provided buffers.
pub const BUNDLE: u16 = 1 << 4;
/// `io_sr_msg.flags`: the notification of a zero-copy send tells whether the kernel copied.
pub const SEND_REPORT_USAGE: u16 = 1 << 3;
/// `io_sr_msg.flags`: the buffer of a send is a vector (Linux 6.17).
pub const SEND_VECTORIZED: u16 = 1 << 5;

/// Flags of a completion: a provided buffer was used.
pub const CQE_BUFFER: u32 = 1;
/// The request goes on.
pub const CQE_MORE: u32 = 2;
/// This is about the memory of a zero-copy send, and not about bytes.
pub const CQE_NOTIFICATION: u32 = 8;

/// Whether a request may post completions that do not name it; `flags` are those of `io_sr_msg`, where the kernel's
/// types tell where they are.
#[inline(always)]
pub const fn is_repeated(opcode: u8, flags: Option<u16>) -> bool {
    match (opcode, flags) {
        (READ_MULTISHOT, _) | (RECV | RECVMSG | SEND, None) => true,
        (RECV | RECVMSG | SEND, Some(flags)) => flags & (RECV_MULTISHOT | BUNDLE) != 0,
        _ => false,
    }
}

/// Where the buffer of a zero-copy send began that went on after `done_bytes`, by where it says that it is, how long, and how many
/// bytes went in all; `None` when that does not tell.
///
/// `io_send_zc` moves `buf` on and makes `len` less with each try; newer kernels (7.3.4 does) leave both, as they only look at the
/// iterator.
#[inline(always)]
pub const fn start_of_zerocopy(buffer: u64, len: u32, done_bytes: u32, sent_bytes: u32) -> Option<u64> {
    if done_bytes == 0 || sent_bytes == len {
        Some(buffer)
    } else if sent_bytes > len {
        // More than there is from here on.
        Some(buffer.wrapping_sub(done_bytes as u64))
    } else {
        // It was cut short, by either.
        None
    }
}

/// Whether a request moves bytes of pipes.
#[inline(always)]
pub const fn is_splice(opcode: u8) -> bool {
    matches!(opcode, SPLICE | TEE)
}

/// Whether a request that has been submitted moves bytes of which no completion will tell; `flags` are the request's.
#[inline(always)]
pub const fn is_unseen(opcode: u8, flags: u32) -> bool {
    let moves = operation(opcode).is_some() || is_splice(opcode);
    opcode == RECV_ZC || moves && flags & CQE_SKIP_SUCCESS != 0
}

/// How `io_uring_complete` passes a completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `(ring, request, completion)`: since Linux 6.16 or so.
    Record,
    /// `(ring, request, user_data, result, flags, …)`: Linux 5.18 and newer.
    Values,
}

impl Form {
    /// The form of a tracepoint with this many arguments, its own data not counted among them.
    #[inline(always)]
    pub const fn of(arguments: u32) -> Option<Self> {
        match arguments {
            3 => Some(Self::Record),
            // Two more since the completions of 32 bytes (Linux 5.19).
            5 | 7 => Some(Self::Values),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_that_move_no_bytes_are_none() {
        // nop, fsync, poll_add, timeout, accept, openat, close, statx, msg_ring, socket, uring_cmd, recv_zc, pipe
        for opcode in [0, 3, 6, 11, 13, 18, 19, 21, 40, 45, 46, 58, 62, 63, 255] {
            assert_eq!(operation(opcode), None, "{opcode}");
        }
        assert_eq!((0..=u8::MAX).filter_map(operation).count(), 15);
    }

    #[test]
    fn reads_go_into_memory_and_writes_out_of_it() {
        for opcode in [1, 4, 10, 22, 27, 49, 60] {
            assert_eq!(operation(opcode).map(|operation| operation.way), Some(Way::Read), "{opcode}");
        }
        for opcode in [2, 5, 9, 23, 26, 47, 48, 61] {
            assert_eq!(operation(opcode).map(|operation| operation.way), Some(Way::Write), "{opcode}");
        }
    }

    #[test]
    fn a_zerocopy_send_began_where_its_first_try_did() {
        const START: u64 = 0x7f00_0000_1000;
        const LEN: u32 = 1000;
        for done in 0..LEN {
            let (moved, left) = (START + u64::from(done), LEN - done);
            assert_eq!(start_of_zerocopy(moved, left, done, LEN), Some(START), "moved on, {done}");
            assert_eq!(start_of_zerocopy(START, LEN, done, LEN), Some(START), "left, {done}");
        }
    }

    #[test]
    fn of_a_zerocopy_send_that_was_cut_short_the_start_is_not_made_up() {
        assert_eq!(start_of_zerocopy(4096, 1000, 300, 300), None);
        assert_eq!(start_of_zerocopy(4096 + 300, 700, 300, 300), None);
        assert_eq!(start_of_zerocopy(4096 + 600, 400, 600, 600), Some(4096));
        assert_eq!(start_of_zerocopy(4096, 1000, 0, 300), Some(4096));
    }

    #[test]
    fn what_may_be_repeated_is_taken_for_it() {
        assert!(is_repeated(READ_MULTISHOT, Some(0)));
        assert!(is_repeated(RECV, Some(RECV_MULTISHOT)) && is_repeated(SEND, Some(BUNDLE)));
        assert!(is_repeated(RECVMSG, None));
        assert!(!is_repeated(RECV, Some(0)) && !is_repeated(READ, None));
    }

    #[test]
    fn only_what_moves_bytes_is_missed() {
        assert!(is_unseen(READ, CQE_SKIP_SUCCESS) && is_unseen(SPLICE, CQE_SKIP_SUCCESS));
        assert!(!is_unseen(READ, 0) && !is_unseen(19, CQE_SKIP_SUCCESS));
        assert!(is_unseen(RECV_ZC, 0));
    }

    #[test]
    fn forms_are_told_apart_by_the_number_of_arguments() {
        assert_eq!(Form::of(3), Some(Form::Record));
        assert_eq!(Form::of(5), Some(Form::Values));
        assert_eq!(Form::of(7), Some(Form::Values));
        // Linux 5.17: no request among them.
        assert_eq!(Form::of(4), None);
        assert_eq!(Form::of(0), None);
    }
}
