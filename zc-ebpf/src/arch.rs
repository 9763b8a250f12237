//! What depends on the architecture: call numbers, and calls that came through another door. x86-64.

use zc_common::path::Path;

use crate::kernel::{Typed, typed};

/// A system call that moves bytes, with where its arguments stand.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum DataCall {
    /// fd, buffer, …
    Read,
    /// fd, vector, its length, …
    ReadVector,
    /// fd, buffer, …
    Write,
    /// fd, vector, its length, …
    WriteVector,
    /// destination fd, source fd, …
    Sendfile,
    /// source fd, offset, destination fd, …
    CopyFileRange,
    /// Of splice: source fd, offset, destination fd, …; of tee: source fd, destination fd, …; of vmsplice: fd, vector,
    /// its length, …
    Pipe(Path),
    /// destination fd, `FICLONE` or `FICLONERANGE`, source fd or range
    Clone,
    /// fd, `IPPROTO_TCP`, `TCP_ZEROCOPY_RECEIVE`, structure, its length
    ReceiveZerocopy,
    /// See [`MessageCall`].
    Message,
    /// Of `io_submit`: context, number, requests; of those that reap: context, least, most, events, …
    Aio,
}

/// A call that sends or receives, or reads or writes the memory of another process, with where its arguments stand.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum MessageCall {
    /// fd, buffer, length, flags, …
    SendTo,
    /// fd, buffer, length, flags, …
    ReceiveFrom,
    /// fd, message, flags
    SendMessage,
    /// fd, message, flags
    ReceiveMessage,
    /// fd, messages, their number, flags
    SendMessages,
    /// fd, messages, their number, flags, …
    ReceiveMessages,
    /// process, vector, its length, …
    ReadProcess,
    /// process, vector, its length, …
    WriteProcess,
}

/// The call of a number, if it is one of those.
#[inline(always)]
pub(crate) fn message_call(number: u64) -> Option<MessageCall> {
    Some(match number {
        44 => MessageCall::SendTo,
        45 => MessageCall::ReceiveFrom,
        46 => MessageCall::SendMessage,
        47 => MessageCall::ReceiveMessage,
        299 => MessageCall::ReceiveMessages,
        307 => MessageCall::SendMessages,
        310 => MessageCall::ReadProcess,
        311 => MessageCall::WriteProcess,
        _ => return None,
    })
}

/// The call of a number, if it moves bytes (`arch/x86/entry/syscalls/syscall_64.tbl`).
#[inline(always)]
pub(crate) fn data_call(number: u64, registers: Typed) -> Option<DataCall> {
    Some(match number {
        // read, pread64
        0 | 17 => DataCall::Read,
        // write, pwrite64
        1 | 18 => DataCall::Write,
        // readv, preadv, preadv2
        19 | 295 | 327 => DataCall::ReadVector,
        // writev, pwritev, pwritev2
        20 | 296 | 328 => DataCall::WriteVector,
        40 => DataCall::Sendfile,
        275 => DataCall::Pipe(Path::Splice),
        276 => DataCall::Pipe(Path::Tee),
        278 => DataCall::Pipe(Path::Vmsplice),
        326 => DataCall::CopyFileRange,
        55 if is_receive_zerocopy(registers) => DataCall::ReceiveZerocopy,
        16 if is_clone(registers) => DataCall::Clone,
        // io_getevents, io_submit, io_pgetevents
        208 | 209 | 333 => DataCall::Aio,
        _ if message_call(number).is_some() => DataCall::Message,
        _ => return None,
    })
}

/// Whether a call of Linux AIO submits, and does not reap.
#[inline(always)]
pub(crate) fn is_aio_submit(number: u64) -> bool {
    number == 209
}

/// Whether a getsockopt receives, by its second and third argument.
#[inline(always)]
fn is_receive_zerocopy(registers: Typed) -> bool {
    const IPPROTO_TCP: u32 = 6;
    const TCP_ZEROCOPY_RECEIVE: u32 = 35;
    let (level, option): (u32, u32) = (typed!(registers, regs_arg1), typed!(registers, regs_arg2));
    level == IPPROTO_TCP && option == TCP_ZEROCOPY_RECEIVE
}

const FICLONE: u32 = 0x4004_9409;
const FICLONERANGE: u32 = 0x4020_940D;

/// Whether an ioctl shares extents, by its second argument.
#[inline(always)]
fn is_clone(registers: Typed) -> bool {
    let command: u32 = typed!(registers, regs_arg1);
    matches!(command, FICLONE | FICLONERANGE)
}

/// Whether a clone is of a whole file, and not of a range.
#[inline(always)]
pub(crate) fn clones_whole(registers: Typed) -> bool {
    let command: u32 = typed!(registers, regs_arg1);
    command == FICLONE
}

/// A system call that makes, moves or takes away a mapping.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum MappingCall {
    /// mmap: address, length, protection, flags, fd, offset.
    Map,
    /// munmap: address, length.
    Unmap,
    /// mremap: address, …
    Move,
}

/// The call of a number, if it is one of those.
#[inline(always)]
pub(crate) fn mapping_call(number: u64) -> Option<MappingCall> {
    Some(match number {
        9 => MappingCall::Map,
        11 => MappingCall::Unmap,
        25 => MappingCall::Move,
        _ => return None,
    })
}

/// Calls that may change what is mapped where: mmap, mprotect, munmap, mremap, shmat, shmdt, `remap_file_pages`,
/// `pkey_mprotect`. Not brk: no file is mapped where the heap may grow.
#[inline(always)]
pub(crate) fn changes_mappings(number: u64) -> bool {
    matches!(number, 9..=11 | 25 | 30 | 67 | 216 | 329)
}

/// mprotect, `pkey_mprotect`: address, length, …
#[inline(always)]
pub(crate) fn protects(number: u64) -> bool {
    matches!(number, 10 | 329)
}

/// Calls whose costs are in rows.
#[inline(always)]
pub(crate) fn is_accounted(number: u64, registers: Typed) -> bool {
    data_call(number, registers).is_some() || mapping_call(number).is_some()
}

/// Calls whose bytes may go from one end to the other without user memory: sendfile, splice, tee, vmsplice,
/// `copy_file_range`.
#[inline(always)]
pub(crate) fn hands_on(number: u64) -> bool {
    matches!(number, 40 | 275 | 276 | 278 | 326)
}

/// Calls that put bytes of sockets into memory: read, readv, recvfrom, recvmsg, preadv2, recvmmsg.
#[inline(always)]
pub(crate) fn receives(number: u64) -> bool {
    matches!(number, 0 | 19 | 45 | 47 | 327 | 299)
}

/// execve, execveat.
#[inline(always)]
pub(crate) fn is_exec(number: u64) -> bool {
    matches!(number, 59 | 322)
}

/// The return of clone, fork, vfork or clone3 in the child, which never made that call.
#[inline(always)]
pub(crate) fn is_birth(number: u64, result: i64) -> bool {
    result == 0 && matches!(number, 56 | 57 | 58 | 435)
}

/// Calls that never return: exit, `exit_group`.
#[inline(always)]
pub(crate) fn is_exit(number: u64) -> bool {
    matches!(number, 60 | 231)
}

/// The call came through the 32-bit entry (`TS_COMPAT` in `thread_info.status`, until its exit) or is one
/// of the x32 ABI: its number and arguments mean something else.
#[inline(always)]
pub(crate) fn is_compat(task: Typed, number: u64) -> bool {
    const TS_COMPAT: u32 = 2;
    const X32_SYSCALL_BIT: u64 = 1 << 30;
    let status: u32 = typed!(task, task_thread_info_status);
    status & TS_COMPAT != 0 || number as i64 > 0 && number & X32_SYSCALL_BIT != 0
}
