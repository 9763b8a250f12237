//! What is done with a call that has ended.

mod memory;
mod read_write;
mod transfer;

use zc_common::{config::COUNT_CALLS, loss::Loss};

use crate::{
    arch::{self, DataCall},
    kernel::{Typed, typed},
    maps::{has, lose},
    thread,
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
        return;
    }
    let Some(call) = arch::data_call(number) else { return };
    let costs = thread::call_costs(thread, task);
    let bytes = if result > 0 { result as u64 } else { 0 };
    match call {
        DataCall::Read | DataCall::ReadVector => {
            read_write::read(thread, task, registers, bytes, costs, call == DataCall::ReadVector);
        }
        DataCall::Write | DataCall::WriteVector => {
            read_write::write(thread, task, registers, bytes, costs, call == DataCall::WriteVector);
        }
        DataCall::Sendfile | DataCall::CopyFileRange => {
            transfer::both_ends(thread, task, registers, bytes, costs, call == DataCall::Sendfile);
        }
    }
}
