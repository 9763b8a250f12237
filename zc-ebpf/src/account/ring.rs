//! Requests in a ring (`io_uring`): what their completions moved.
//!
//! A completion runs in the thread that submitted the request, in a worker or in the poller that the kernel made for
//! the ring; all are threads of the process. Its request is still there, with the file and the arguments: they are
//! read when the completion is posted, and nothing is kept of a request meanwhile. The exception are requests
//! that go on after a completion, as those completions do not name them.

use aya_ebpf::{
    bindings::{BPF_ANY, BPF_NOEXIST},
    macros::map,
    maps::LruHashMap,
};
use zc_common::{
    loss::Loss,
    path::{Kind, kind_bits},
    ring::{
        Arguments, BUNDLE, CQE_BUFFER, CQE_MORE, CQE_NOTIFICATION, HARDLINK, LINK, Operation, RECVMSG,
        SEND_REPORT_USAGE, SEND_VECTORIZED, Way, is_repeated, is_splice, is_unseen, operation,
        start_of_zerocopy,
    },
    row::{RING_DESTINATION, RING_SOURCE},
};

use super::{
    later,
    leg::{self, Leg},
    memory::{Memory, Shape},
    pipe::requests,
    transmission, zerocopy,
};
use crate::{
    kernel::{Typed, current, global, probe, probe_at, probe_both, probe_user, typed},
    maps::lose,
    object::{self, End, NO_DESCRIPTOR},
    thread::{self, CallCosts},
};

/// A completion.
#[derive(Clone, Copy)]
pub(crate) struct Completion {
    /// `struct io_ring_ctx`
    pub(crate) ring: u64,
    /// `struct io_kiocb`, 0 when the request goes on.
    pub(crate) request: u64,
    pub(crate) user_data: u64,
    pub(crate) result: i32,
    pub(crate) flags: u32,
}

/// How a program knows a request.
#[repr(C)]
#[derive(Clone, Copy)]
struct Name {
    ring: u64,
    user_data: u64,
}

/// Requests of one name that go on after a completion.
#[repr(C)]
#[derive(Clone, Copy)]
struct Repeated {
    /// The one that there is, [`SEVERAL`] when there were more at a time.
    request: u64,
    /// How many there are.
    alive: u64,
    /// Bytes before the payload of each message received.
    header_bytes: u64,
}

const SEVERAL: u64 = 1;

/// Requests that go on after a completion.
#[map]
static REPEATED: LruHashMap<Name, Repeated> = LruHashMap::with_max_entries(8192, 0);

/// Notes a request of a traced process that completions will not name, or of which none will tell.
#[inline(always)]
pub(crate) fn submitted(request: u64) -> Option<()> {
    let (opcode, flags): (u8, u32) =
        probe_both(request, global!(OFFSETS.io_kiocb_opcode), global!(OFFSETS.io_kiocb_flags))?;
    if is_unseen(opcode, flags) {
        lose(Loss::RingUnseen);
    }
    if is_splice(opcode) || flags & (LINK | HARDLINK) != 0 {
        requests::submitted(request, opcode, flags);
    }
    if !is_repeated(opcode, None) || !is_repeated(opcode, message_flags(request)) {
        return None;
    }
    let name =
        Name { ring: probe!(request, io_kiocb_ctx)?, user_data: probe!(request, io_kiocb_cqe_user_data)? };
    let header_bytes = if opcode == RECVMSG { header_bytes(request)? } else { 0 };
    let first = Repeated { request, alive: 1, header_bytes };
    if REPEATED.insert(&name, &first, u64::from(BPF_NOEXIST)).is_ok() {
        return Some(());
    }
    if let Some(known) = REPEATED.get_ptr_mut(&name) {
        // SAFETY: map memory. The ring is locked while requests are submitted.
        unsafe {
            (*known).request = SEVERAL;
            (*known).alive += 1;
        }
        return Some(());
    }
    let _ = REPEATED.insert(&name, &first, u64::from(BPF_ANY));
    Some(())
}

/// Accounts for a completion of a traced process.
#[inline(always)]
pub(crate) fn completed(task: Typed, completion: &Completion) {
    let Completion { ring, request, user_data, result, flags } = *completion;
    let opcode: u8 = if request == 0 { 0 } else { probe!(request, io_kiocb_opcode).unwrap_or(0) };
    if is_splice(opcode) {
        if requests::zc_pipe_completed(request, opcode.into(), i64::from(result)) != 0
            && let Some(thread) = thread::find(task)
        {
            requests::count(thread);
            if transmission::has_sent(thread) {
                // The file of a splice is the one that it goes to.
                transmission::zc_request_sent(thread, probe_at(request).unwrap_or(0));
            }
        }
        return;
    }
    let what = zc_ring_leg(ring, request, user_data, i64::from(result), u64::from(flags));
    if what != leg::NOTHING
        && let Some(thread) = thread::find(task)
    {
        let left = leg::count(thread, what);
        later::finish(thread, left);
        if left & later::SENT != 0 {
            zerocopy::requested();
        }
        if transmission::has_sent(thread) {
            transmission::zc_request_sent(thread, probe_at(request).unwrap_or(0));
        }
    }
}

/// Makes out the leg of a completion. A global function: the verifier looks at it once, and its stack is not below
/// another's.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn zc_ring_leg(ring: u64, request: u64, user_data: u64, result: i64, flags: u64) -> u64 {
    let completion = Completion { ring, request, user_data, result: result as i32, flags: flags as u32 };
    try_leg(&completion).unwrap_or(leg::NOTHING)
}

#[inline(always)]
fn try_leg(completion: &Completion) -> Option<u64> {
    let Completion { ring, user_data, result, flags, .. } = *completion;
    if flags & CQE_NOTIFICATION != 0 {
        // `IORING_NOTIF_USAGE_ZC_COPIED`
        zerocopy::zc_notified(ring, user_data, u64::from(result < 0));
        return None;
    }
    let request = if completion.request != 0 {
        completion.request
    } else {
        // The others that go on are polls, accepts and timeouts: without a buffer.
        if flags & CQE_BUFFER == 0 || result <= 0 {
            return None;
        }
        let Some(known) = repeated(ring, user_data) else {
            lose(Loss::RingUnseen);
            return None;
        };
        known.request
    };
    let opcode = probe!(request, io_kiocb_opcode)?;
    let operation = operation(opcode)?;
    let message_flags = if is_repeated(opcode, None) { message_flags(request) } else { Some(0) };
    let mut header = 0;
    if is_repeated(opcode, message_flags) {
        let known = repeated(ring, user_data);
        if completion.request != 0 && flags & CQE_MORE == 0 {
            ended(ring, user_data);
        }
        if opcode == RECVMSG && flags & CQE_BUFFER != 0 {
            let Some(known) = known else {
                // How much of it is payload is not known.
                lose(Loss::RingUnseen);
                return None;
            };
            header = known.header_bytes;
        }
    }
    // A message without payload has a result, too.
    if i64::from(result) <= header as i64 {
        if operation.is_zerocopy && flags & CQE_MORE != 0 {
            zerocopy::zc_requested(ring, user_data, 0);
        }
        return None;
    }
    let task = current();
    let thread = thread::find_or_create(task, typed!(task, task_tgid))?;
    // The file is the first member of every request (`io_kiocb_to_cmd`).
    let end = object::end_of_file(thread, probe_at(request).unwrap_or(0));
    let memory = if header != 0 {
        // For this, the kernel leaves the address in the place of the message (`io_recvmsg_prep_multishot`).
        buffer(request).map(|address| Memory::new(Shape::Buffer, address + header))
    } else {
        memory_of(request, operation, &end, result as u32, flags)
    };
    let is_read = operation.way == Way::Read;
    let leg = leg::place()?;
    *leg = Leg {
        end,
        fd: NO_DESCRIPTOR,
        memory: memory.unwrap_or(Memory::new(Shape::Nowhere, 0)),
        bytes: result as u64 - header,
        calls: 0,
        flags: if is_read { RING_SOURCE } else { RING_DESTINATION },
        costs: CallCosts::NONE,
    };
    if operation.is_zerocopy && flags & CQE_MORE != 0 {
        let is_reported = self::message_flags(request).is_some_and(|flags| flags & SEND_REPORT_USAGE != 0);
        zerocopy::begin_request(leg, ring, user_data, is_reported);
    }
    Some(match (operation.way, operation.is_zerocopy) {
        (Way::Read, _) => leg::READ,
        // Pages or copies: a copy must not be made up.
        (Way::Write, true) => leg::SEND_ZEROCOPY,
        (Way::Write, false) => leg::WRITE,
    })
}

/// The request of a completion that does not name it.
#[inline(always)]
fn repeated(ring: u64, user_data: u64) -> Option<Repeated> {
    let known = REPEATED.get_ptr(&Name { ring, user_data })?;
    // SAFETY: map memory.
    let known = unsafe { *known };
    let request = known.request;
    // It may be one of a ring that is gone.
    let same = request != SEVERAL
        && probe!(request, io_kiocb_ctx) == Some(ring)
        && probe!(request, io_kiocb_cqe_user_data) == Some(user_data);
    same.then_some(known)
}

/// A request that went on has ended.
#[inline(always)]
fn ended(ring: u64, user_data: u64) {
    let name = Name { ring, user_data };
    let Some(known) = REPEATED.get_ptr_mut(&name) else { return };
    // SAFETY: map memory. The ring is locked while completions are posted.
    let left = unsafe {
        (*known).alive -= 1;
        (*known).alive
    };
    if left == 0 {
        let _ = REPEATED.remove(&name);
    }
}

/// `io_sr_msg.flags`, where the kernel's types tell where they are.
#[inline(always)]
fn message_flags(request: u64) -> Option<u16> {
    if global!(OFFSETS.io_sr_msg_flags) == 0 { None } else { probe!(request, io_sr_msg_flags) }
}

/// `io_sr_msg.buf`, also in the place of `umsg`.
#[inline(always)]
fn buffer(request: u64) -> Option<u64> {
    if global!(OFFSETS.io_sr_msg_buf) == 0 { None } else { probe!(request, io_sr_msg_buf) }
}

/// What is in a provided buffer before the payload of each message (`io_recvmsg_multishot`), and is in its result too:
/// a head, and the room for name and control data that the request asks for.
#[inline(always)]
fn header_bytes(request: u64) -> Option<u64> {
    // `struct io_uring_recvmsg_out`
    const OUT: u64 = 16;
    const MSG_NAMELEN: u64 = 8;
    const MSG_CONTROLLEN: u64 = 40;
    let message = buffer(request)?;
    let name: u32 = probe_user(message + MSG_NAMELEN)?;
    let control: u64 = probe_user(message + MSG_CONTROLLEN)?;
    Some(OUT + u64::from(name) + control)
}

/// The provided buffer that a send or recv used, while the request still has its iterator: those that go on do.
#[inline(always)]
fn provided_buffer(request: u64) -> Option<u64> {
    const ITER_UBUF: u8 = 0;
    if global!(OFFSETS.io_async_msghdr_msg_msg_iter_ubuf) == 0 {
        return None;
    }
    let data: u64 = probe!(request, io_kiocb_async_data)?;
    if data == 0 || probe!(data, io_async_msghdr_msg_msg_iter_iter_type) != Some(ITER_UBUF) {
        return None;
    }
    probe!(data, io_async_msghdr_msg_msg_iter_ubuf)
}

/// The user memory of a request; `result` and `flags` are those of its completion. `None` when it is not known.
#[inline(always)]
fn memory_of(request: u64, operation: Operation, end: &End, result: u32, flags: u32) -> Option<Memory> {
    let has_buffer = flags & CQE_BUFFER != 0;
    let shape = match operation.arguments {
        Arguments::Socket => {
            let (flags, start) = (message_flags(request)?, buffer(request)?);
            if flags & BUNDLE != 0 {
                return None;
            }
            if has_buffer {
                return Some(Memory::new(Shape::Buffer, provided_buffer(request)?));
            }
            let is_vector = operation.way == Way::Write && flags & SEND_VECTORIZED != 0;
            let shape = if is_vector { Shape::Vector } else { Shape::Buffer };
            let done: u32 = probe!(request, io_sr_msg_done_io)?;
            if !operation.is_zerocopy || done == 0 {
                // What went before a retry has moved the buffer on.
                return Some(Memory::new(shape, start - u64::from(done)));
            }
            // Of a vector, this is how many buffers there are.
            let len: u32 = if is_vector { None } else { probe!(request, io_sr_msg_len) }?;
            return Some(Memory::new(shape, start_of_zerocopy(start, len, done, result)?));
        }
        Arguments::Message => {
            const MSG_IOV: u64 = 16;
            // The address of the buffer is in no place that is still there.
            if has_buffer {
                return None;
            }
            let vector: Option<u64> = probe_user(buffer(request)? + MSG_IOV);
            if vector.is_none() {
                lose(Loss::IovUnread);
            }
            return Some(Memory::new(Shape::Vector, vector?));
        }
        Arguments::Fixed if !is_moved_by_page(end) => return None,
        Arguments::Vector if !has_buffer => Shape::Vector,
        Arguments::Buffer | Arguments::Fixed | Arguments::Vector => Shape::Buffer,
    };
    if global!(OFFSETS.io_rw_addr) == 0 {
        return None;
    }
    Some(Memory::new(shape, probe!(request, io_rw_addr)?))
}

/// Whether reads and writes of the file take any memory, so that the kernel has no need to go through a registered
/// buffer by itself.
#[inline(always)]
fn is_moved_by_page(end: &End) -> bool {
    const FILE: u8 = Kind::File as u8;
    const TCP: u8 = Kind::Tcp as u8;
    const UDP: u8 = Kind::Udp as u8;
    const UNIX: u8 = Kind::Unix as u8;
    const PIPE: u8 = Kind::Pipe as u8;
    matches!(kind_bits(end.kind), FILE | TCP | UDP | UNIX | PIPE)
}
