//! What is done with a call that has ended.

mod aio;
mod clone;
mod inside;
mod later;
mod leg;
mod mapping_calls;
pub(crate) mod memory;
mod message;
pub(crate) mod pipe;
pub(crate) mod read_write;
mod receive;
pub(crate) mod received;
pub(crate) mod ring;
mod transfer;
pub(crate) mod transmission;
pub(crate) mod zerocopy;

use zc_common::{config::COUNT_CALLS, loss::Loss, path::Path};

use self::{mapping_calls::zc_mapping_call, memory::Shape};
use crate::{
    arch::{self, DataCall},
    fault,
    kernel::{Typed, typed},
    mapping,
    maps::{has, lose},
    thread,
};

/// Accounts for a call of a traced process. The saved registers still hold its number and its arguments, and its result
/// already.
#[inline(always)]
pub(crate) fn call_ended(task: Typed, tgid: u32, registers: Typed) {
    let number: u64 = typed!(registers, regs_number);
    let Some(thread) = thread::find_or_create(task, tgid) else { return };
    let result: i64 = typed!(registers, regs_result);
    fault::settle(thread);
    if has(COUNT_CALLS) && !arch::is_birth(number, result) {
        // SAFETY: map memory, only this thread's.
        unsafe { (*thread).calls += 1 };
    }
    if arch::is_compat(task, number) {
        lose(Loss::CompatCalls);
        // It may have been one of those that change mappings, under another number.
        mapping::all_changed(thread);
        return;
    }
    let Some(call) = arch::data_call(number, registers) else {
        if arch::changes_mappings(number) {
            zc_mapping_call(thread, number, result);
        }
        return;
    };
    let bytes = if result > 0 { result as u64 } else { 0 };
    // Each family is a global function: the verifier looks at it once, and its stack is not below another's.
    let left = match call {
        DataCall::Read | DataCall::ReadVector | DataCall::Write | DataCall::WriteVector => {
            let vectored = matches!(call, DataCall::ReadVector | DataCall::WriteVector);
            let shape = if vectored { Shape::Vector } else { Shape::Buffer } as u64;
            let (fd, address): (u64, u64) = (typed!(registers, regs_arg0), typed!(registers, regs_arg1));
            if matches!(call, DataCall::Read | DataCall::ReadVector) {
                read_write::zc_read_call(thread, shape, fd, address, bytes)
            } else {
                read_write::zc_write_call(thread, shape, fd, address, bytes)
            }
        }
        DataCall::Sendfile => transfer::zc_both_ends(thread, Path::Sendfile as u64, bytes),
        DataCall::CopyFileRange => transfer::zc_both_ends(thread, Path::CopyFileRange as u64, bytes),
        DataCall::Message => leg::count(thread, message::zc_message_call(thread, result)),
        DataCall::Pipe(path) => pipe::zc_pipe_call(thread, path as u64, bytes),
        DataCall::ReceiveZerocopy => receive::zc_received_zerocopy(thread, u64::from(result == 0)),
        DataCall::Clone => clone::zc_cloned(thread, u64::from(result == 0)),
        DataCall::Aio => aio::call_ended(thread, task, registers, result),
    };
    later::finish_call(thread, left, bytes);
    if transmission::has_sent(thread) {
        transmission::zc_call_sent(thread);
    }
}
