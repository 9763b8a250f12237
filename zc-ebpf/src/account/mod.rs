//! What is done with a call that has ended.

mod clone;
pub(crate) mod memory;
mod message;
pub(crate) mod pipe;
pub(crate) mod read_write;
pub(crate) mod ring;
mod transfer;

use zc_common::{config::COUNT_CALLS, loss::Loss};

use self::{
    memory::{Memory, Shape},
    read_write::Leg,
};
use crate::{
    arch::{self, DataCall},
    kernel::{Typed, typed},
    mapping,
    maps::{has, lose},
    object, thread,
};

/// Accounts for a call of a traced process. The saved registers still hold its number and its arguments.
#[inline(always)]
pub(crate) fn call_ended(task: Typed, tgid: u32, registers: Typed, result: i64) {
    let number: u64 = typed!(registers, regs_number);
    let Some(thread) = thread::find_or_create(task, tgid) else { return };
    if has(COUNT_CALLS) && !arch::is_birth(number, result) {
        // SAFETY: map memory, only this thread's.
        unsafe { (*thread).calls += 1 };
    }
    if arch::is_compat(task, number) {
        lose(Loss::CompatCalls);
        // It may have been one of those that change mappings, under another number.
        mapping::changed(thread);
        return;
    }
    let Some(call) = arch::data_call(number, registers) else {
        if arch::changes_mappings(number) && !arch::maps_beside(number, registers) {
            mapping::changed(thread);
        }
        return;
    };
    if call == DataCall::Message {
        message::zc_message_call(thread, result);
        return;
    }
    let bytes = if result > 0 { result as u64 } else { 0 };
    if let DataCall::Pipe(path) = call {
        pipe::call_ended(thread, path, bytes);
        return;
    }
    if call == DataCall::Clone {
        // It looks at its own costs, so that the way of reads and writes stays short for the verifier.
        clone::zc_cloned(thread, u64::from(result == 0));
        return;
    }
    let costs = thread::call_costs(thread, task, bytes);
    match call {
        DataCall::Read | DataCall::ReadVector | DataCall::Write | DataCall::WriteVector => {
            let vectored = matches!(call, DataCall::ReadVector | DataCall::WriteVector);
            let fd: u64 = typed!(registers, regs_arg0);
            let shape = if vectored { Shape::Vector } else { Shape::Buffer };
            let leg = Leg {
                end: object::end_of(thread, task, fd),
                fd,
                memory: Memory::new(shape, typed!(registers, regs_arg1)),
                bytes,
                calls: 1,
                flags: 0,
                costs,
            };
            if matches!(call, DataCall::Read | DataCall::ReadVector) {
                read_write::read(thread, task, &leg);
            } else {
                read_write::write(thread, task, &leg);
            }
        }
        DataCall::Sendfile | DataCall::CopyFileRange => {
            transfer::both_ends(thread, task, registers, bytes, costs, call == DataCall::Sendfile);
        }
        DataCall::Pipe(_) | DataCall::Clone | DataCall::Message => {}
    }
}
