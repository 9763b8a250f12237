//! Reports on zero-copy sends.

use core::{arch::asm, ffi::c_void};

use aya_ebpf::{
    EbpfContext as _,
    bindings::BPF_ANY,
    helpers::generated::{bpf_loop, bpf_probe_read_kernel},
    macros::{btf_tracepoint, map},
    maps::PerCpuArray,
    programs::BtfTracePointContext,
};
use zc_common::{
    loss::Loss,
    zerocopy::{Report, Sender, UNKNOWN, is_near},
};

use crate::{
    account::zerocopy::{CERTAIN, SENDERS, zc_reported},
    kernel::{address_at, alone, current, global, lowest_bit, probe, probe_at, typed},
    maps::{is_traced, lose},
};

/// How many words of the stack are looked at for the report that was joined, and how many of them are below the arguments of
/// the program: what called it, and registers that the program keeps.
const WORDS: usize = 104;
const WORDS_BELOW: usize = 8;

/// How many sends of one report are counted: as many as can share one come in two rounds.
const SENDS_MAX: u32 = 32_768;

/// A report that is being counted. The kernel does not run a program on a CPU on which it is under way.
#[repr(C)]
struct Looked {
    sock: u64,
    number: u64,
    /// What is known to be joined ends here.
    waiting: u64,
    id: u32,
    left: u32,
    certain: u64,
    copied: u64,
    words: [u64; WORDS],
}

#[map]
static LOOKED: PerCpuArray<Looked> = PerCpuArray::with_max_entries(1, 0);

#[inline(always)]
fn place() -> Option<&'static mut Looked> {
    // SAFETY: this CPU's, see above.
    LOOKED.get_ptr_mut(0).map(|looked| unsafe { &mut *looked })
}

/// `inet_sk_error_report(const struct sock *sk)`, after something was put into the error queue of a socket.
#[btf_tracepoint(function = "inet_sk_error_report")]
pub(crate) fn zc_zerocopy_report(ctx: BtfTracePointContext) -> i32 {
    // The address of a report that was joined may be in a register only, which a function keeps on its stack before it uses it,
    // and on Linux 6.1 none of the kernel's does. The translation of a program does so with registers that the program
    // uses. This one uses all of them and nothing of the stack: they come right below what it returns to.
    // SAFETY: nothing is in these registers.
    unsafe {
        asm!(
            "r6 = 0",
            "r7 = 0",
            "r8 = 0",
            "r9 = 0",
            out("r6") _,
            out("r7") _,
            out("r8") _,
            out("r9") _,
            options(nomem, nostack)
        );
    }
    error_report(&ctx)
}

#[inline(never)]
fn error_report(ctx: &BtfTracePointContext) -> i32 {
    let sock = address_at(ctx.as_ptr().cast(), 0);
    let known = SENDERS.get_ptr_mut(&sock);
    if known.is_none() {
        // A report on the first send of a socket can come before its end.
        let tgid: u32 = typed!(current(), task_tgid);
        if !is_traced(tgid) {
            return 0;
        }
    }
    let _alone = alone();
    report(ctx, sock, known);
    0
}

#[inline(always)]
fn report(ctx: &BtfTracePointContext, sock: u64, known: Option<*mut Sender>) -> Option<()> {
    let queue = sock + u64::from(global!(OFFSETS.sock_sk_error_queue));
    let last: u64 = probe!(queue, queue_prev)?;
    if last == queue || probe!(last, skb_sk) != Some(sock) {
        return None;
    }
    let waiting = report_of(last);
    if waiting.copied == UNKNOWN {
        return None;
    }
    let socket: u64 = probe!(sock, sock_sk_socket).filter(|&socket| socket != 0)?;
    let inode = socket + u64::from(global!(OFFSETS.socket_alloc_inode));
    let number: u64 = probe!(inode, inode_i_ino)?;
    // SAFETY: map memory.
    let known = known.filter(|&known| unsafe { (*known).number } == number);
    let looked = place()?;
    looked.sock = sock;
    looked.number = number;
    // SAFETY: the array has room for as much.
    let status = unsafe {
        bpf_probe_read_kernel(
            looked.words.as_mut_ptr().cast(),
            size_of::<[u64; WORDS]>() as u32,
            ctx.as_ptr().cast_const().cast::<u64>().wrapping_sub(WORDS_BELOW).cast(),
        )
    };
    // The sum of both is not known to the verifier.
    looked.certain = 0;
    looked.waiting = last;
    if status == 0 && waiting.more() != 0 {
        // SAFETY: `look_next` has the signature of a callback.
        unsafe { bpf_loop(WORDS as u32, look_next as *mut c_void, core::ptr::null_mut(), 0) };
    }
    let looked = place()?;
    let own = if looked.certain != 0 {
        report_of(looked.certain)
    } else {
        // Of what has been joined to a report that was seen before, nothing is known.
        // SAFETY: map memory.
        let seen = known
            .is_some_and(|known| unsafe { (*known).has_waiting != 0 && (*known).waiting == waiting.first });
        if seen {
            lose(Loss::ZerocopyUnmatched);
            return None;
        }
        looked.certain = u64::from(waiting.more() == 0);
        remember(sock, number, waiting.first, known);
        waiting
    };
    looked.waiting = own.first.into();
    looked.id = own.first;
    looked.left = own.more();
    looked.copied = own.copied;
    // SAFETY: `count_next` has the signature of a callback.
    unsafe { bpf_loop(SENDS_MAX, count_next as *mut c_void, core::ptr::null_mut(), 0) };
    if place()?.left != u32::MAX {
        lose(Loss::ZerocopyUnmatched);
    }
    Some(())
}

/// The report in an element of an error queue.
#[inline(always)]
fn report_of(element: u64) -> Report {
    let error = element + u64::from(global!(OFFSETS.skb_cb)) + u64::from(global!(OFFSETS.skb_error_ee));
    Report::of(probe_at(error).unwrap_or(0), probe_at(error + 8).unwrap_or(0))
}

/// Notes which report waits in the queue.
#[inline(always)]
fn remember(sock: u64, number: u64, first: u32, known: Option<*mut Sender>) {
    if let Some(known) = known {
        // SAFETY: map memory.
        unsafe {
            (*known).waiting = first;
            (*known).has_waiting = 1;
        }
        return;
    }
    let sender = Sender { number, thread_start_ns: 0, tid: 0, counter: 0, waiting: first, has_waiting: 1 };
    let _ = SENDERS.insert(&sock, &sender, u64::from(BPF_ANY));
}

/// Looks for the report that was joined to the one that waits. The kernel frees it when the program has ended, so its
/// address is still on the stack of the function that reports, not far above. What is found there is a report on this
/// socket that ends as the joined one does, which no other does.
#[inline(never)]
extern "C" fn look_next(index: u32, _context: *mut c_void) -> i64 {
    let Some(looked) = place() else { return 1 };
    let index = index as usize;
    if index >= WORDS {
        return 1;
    }
    let word = looked.words[index];
    if !is_near(word, looked.sock) || word & 7 != 0 || word == looked.waiting {
        return 0;
    }
    lowest_bit(zc_is_joined(word, looked.sock, looked.waiting)) as i64
}

/// A global function: the verifier looks at it once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn zc_is_joined(element: u64, sock: u64, waiting: u64) -> u64 {
    if probe!(element, skb_sk) != Some(sock) {
        return 0;
    }
    let joined = report_of(element);
    if joined.copied == UNKNOWN || !joined.is_end_of(&report_of(waiting)) {
        return 0;
    }
    let Some(looked) = place() else { return 0 };
    looked.certain = element;
    1
}

/// Counts one send of the report.
#[inline(never)]
extern "C" fn count_next(_index: u32, _context: *mut c_void) -> i64 {
    let Some(looked) = place() else { return 1 };
    let waiting = if looked.certain != 0 { CERTAIN } else { looked.waiting };
    zc_reported(looked.sock, looked.number, looked.id.into(), waiting, looked.copied);
    let Some(looked) = place() else { return 1 };
    looked.id = looked.id.wrapping_add(1);
    looked.left = looked.left.wrapping_sub(1);
    i64::from(looked.left == u32::MAX)
}
