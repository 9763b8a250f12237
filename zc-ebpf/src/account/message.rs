//! Calls that send and receive messages, and those on the memory of another process. The kernel counts their bytes
//! in neither `rchar` nor `wchar`.

use zc_common::{
    path::{Kind, kind_bits},
    row::{MESSAGE_DESTINATION, MESSAGE_SOURCE, SPECIAL},
    thread::Thread,
};

use super::{
    leg::{self, Leg},
    memory::{Memory, Shape, bytes_of_messages},
    zerocopy,
};
use crate::{
    arch::{self, MessageCall},
    kernel::{Typed, current, global, probe_at, typed, user_registers},
    object::{self, End},
    thread::{self, CallCosts},
};

/// The bytes stay in the socket.
const MSG_PEEK: u64 = 2;
/// The result is the length of the datagram, also of one that had no room; of TCP, the bytes that were thrown away.
const MSG_TRUNC: u64 = 0x20;

/// The kernel may use the memory itself, and reports when it does not any more.
const MSG_ZEROCOPY: u64 = 0x400_0000;

/// Makes out the leg of a call that has ended. A global function: the verifier looks at it once.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn zc_message_call(thread: *mut Thread, result: i64) -> u64 {
    if thread.is_null() {
        return leg::NOTHING;
    }
    let task = current();
    let registers = user_registers(task);
    let number: u64 = typed!(registers, regs_number);
    let Some(call) = arch::message_call(number) else { return leg::NOTHING };
    let Some(leg) = leg::place() else { return leg::NOTHING };
    let fd: u64 = typed!(registers, regs_arg0);
    let address: u64 = typed!(registers, regs_arg1);
    let result = if result > 0 { result as u64 } else { 0 };
    let memory = match call {
        MessageCall::SendTo | MessageCall::ReceiveFrom => Memory::new(Shape::Buffer, address),
        MessageCall::SendMessage | MessageCall::ReceiveMessage => Memory::new(Shape::Message, address),
        MessageCall::SendMessages | MessageCall::ReceiveMessages => {
            Memory::of_messages(address, result as u32)
        }
        MessageCall::ReadProcess | MessageCall::WriteProcess => Memory::new(Shape::Vector, address),
    };
    let end = match call {
        MessageCall::ReadProcess | MessageCall::WriteProcess => End::MEMORY,
        _ => object::end_of(thread, task, fd),
    };
    *leg = Leg {
        end,
        fd,
        memory,
        bytes: result,
        calls: 1,
        flags: MESSAGE_SOURCE,
        // No device moves bytes between a socket and memory.
        costs: CallCosts { by_device: 0, ..thread::call_costs(thread, task, 0) },
    };
    match call {
        MessageCall::WriteProcess => {
            leg.flags = MESSAGE_DESTINATION;
            leg::WRITE
        }
        MessageCall::SendTo | MessageCall::SendMessage | MessageCall::SendMessages => {
            leg.flags = MESSAGE_DESTINATION;
            if call == MessageCall::SendMessages {
                leg.bytes = bytes_of_messages(&leg.memory, 0);
            }
            if message_flags(call, registers) & MSG_ZEROCOPY == 0 {
                leg::WRITE
            } else {
                send_zerocopy(thread, leg)
            }
        }
        MessageCall::ReadProcess => leg::READ,
        MessageCall::ReceiveFrom | MessageCall::ReceiveMessage | MessageCall::ReceiveMessages => {
            let flags = message_flags(call, registers);
            leg.bytes = received(call, registers, leg, flags);
            if flags & MSG_PEEK != 0 { leg::PEEK } else { leg::READ }
        }
    }
}

/// What was sent with `MSG_ZEROCOPY`, which the kernel ignores where `SO_ZEROCOPY` is not set: on a kind of socket that has no
/// such option, and where nobody has asked for it.
#[inline(always)]
fn send_zerocopy(thread: *mut Thread, leg: &mut Leg) -> u64 {
    let bit = global!(OFFSETS.sock_zerocopy_bit);
    let sock = object::sock_of(thread, leg.fd);
    let flags: Option<u64> =
        sock.and_then(|sock| probe_at(sock + u64::from(global!(OFFSETS.sock_skc_flags))));
    // What is not known is not said to have been copied.
    if bit > 63 || flags.is_none_or(|flags| flags >> bit & 1 != 0) {
        if let Some(sock) = sock {
            zerocopy::begin_call(thread, leg, sock);
        }
        leg::SEND_ZEROCOPY
    } else {
        leg.flags |= SPECIAL;
        leg::WRITE
    }
}

#[inline(always)]
fn message_flags(call: MessageCall, registers: Typed) -> u64 {
    if matches!(call, MessageCall::ReceiveMessage | MessageCall::SendMessage) {
        typed!(registers, regs_arg2)
    } else {
        typed!(registers, regs_arg3)
    }
}

/// How many bytes have reached memory.
#[inline(always)]
fn received(call: MessageCall, registers: Typed, leg: &Leg, flags: u64) -> u64 {
    if flags & MSG_TRUNC != 0 {
        if kind_bits(leg.end.kind) == Kind::Tcp as u8 {
            return 0;
        }
        if call == MessageCall::ReceiveFrom {
            let room: u64 = typed!(registers, regs_arg2);
            return if leg.bytes < room { leg.bytes } else { room };
        }
        return bytes_of_messages(&leg.memory, leg.bytes);
    }
    if call == MessageCall::ReceiveMessages { bytes_of_messages(&leg.memory, 0) } else { leg.bytes }
}
