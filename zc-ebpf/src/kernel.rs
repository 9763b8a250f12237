//! Reading the kernel's memory, and the atomic operations that Rust does not offer for this target.

use core::{
    arch::asm,
    mem::{MaybeUninit, size_of},
};

use aya_ebpf::helpers::generated::{
    bpf_get_current_task_btf, bpf_probe_read_kernel, bpf_probe_read_user, bpf_task_pt_regs,
};
use zc_common::config::{ALONE_MARK, CAST_MARK, Config, Offsets, SHARED_MARK};

/// How this session traces; set by user space before the load.
#[unsafe(no_mangle)]
pub(crate) static CONFIG: Config = Config {
    pid_ns_device: 0,
    pid_ns_inode: 0,
    root_pid: 0,
    flows_max: 0,
    pair_set_mask: 0,
    flags: 0,
    ring_bytes: 0,
    ring_arguments: 0,
    word_type: 0,
    witness_one_in: 1,
    task_type: 0,
    mm_type: 0,
    files_type: 0,
    fs_type: 0,
    reserved: 0,
};

/// Where things are in this kernel's structures; set by user space before the load.
#[unsafe(no_mangle)]
// SAFETY: numbers, for which zero is a value.
pub(crate) static OFFSETS: Offsets = unsafe { MaybeUninit::zeroed().assume_init() };

/// Reads a field of a read-only global past the compiler, which only knows its initial value.
macro_rules! global {
    ($global:ident . $field:ident) => {
        $crate::kernel::read_global(&raw const $crate::kernel::$global.$field)
    };
}
pub(crate) use global;

/// Reads a member through a typed pointer: the verifier knows the structure, and turns the read into one
/// that faults to zero.
macro_rules! typed {
    ($base:expr, $offset:ident) => {
        $crate::kernel::typed_at($base, $crate::kernel::global!(OFFSETS.$offset))
    };
}
pub(crate) use typed;

/// Reads a member that points to a structure.
macro_rules! pointer {
    ($base:expr, $offset:ident, $type:ident) => {
        $crate::kernel::pointer_at(
            $base,
            $crate::kernel::global!(OFFSETS.$offset),
            $crate::kernel::global!(CONFIG.$type),
        )
    };
}
pub(crate) use pointer;

/// Reads a member at an address that the verifier knows nothing of.
macro_rules! probe {
    ($base:expr, $offset:ident) => {
        $crate::kernel::probe_at($base + u64::from($crate::kernel::global!(OFFSETS.$offset)))
    };
}
pub(crate) use probe;

#[inline(always)]
pub(crate) fn read_global<T: Copy>(field: *const T) -> T {
    // SAFETY: `global!` passes a field of a static.
    unsafe { field.read_volatile() }
}

/// A kernel pointer whose type the verifier knows: a task, registers, what is reached from them.
pub(crate) type Typed = *const u8;

/// The running task.
#[inline(always)]
pub(crate) fn current() -> Typed {
    // SAFETY: has no preconditions.
    unsafe { bpf_get_current_task_btf() as Typed }
}

/// The registers with which `task` last entered the kernel from user mode.
#[inline(always)]
pub(crate) fn user_registers(task: Typed) -> Typed {
    // SAFETY: `task` is a task, as the verifier makes sure.
    unsafe { bpf_task_pt_regs(task.cast_mut().cast()) as Typed }
}

#[inline(always)]
pub(crate) fn typed_at<T: Copy>(base: Typed, offset: u32) -> T {
    // SAFETY: the verifier checks that there is such a member.
    unsafe { base.add(offset as usize).cast::<T>().read_volatile() }
}

/// Reads a pointer to a structure of this type that is a member of what the verifier knows.
///
/// A task is trusted, and of a pointer that is read from what is trusted the verifier asks whether it is to be trusted, too: it looks
/// for structures of certain names, once through all types of the kernel for each (`btf_nested_type_is_trusted`, 6.2 to 6.18). That
/// was a fifth of the time that it takes to start. What is cast is not trusted, and it does not ask.
#[inline(always)]
pub(crate) fn pointer_at(base: Typed, offset: u32, to: u32) -> Typed {
    if to == 0 {
        return typed_at(base, offset);
    }
    cast(address_at(base, offset), to)
}

/// Reads a pointer that is a member of what the verifier knows, as a number: a pointer of a known type may not be
/// computed with, and not be given to a function as a number.
#[inline(always)]
pub(crate) fn address_at(base: Typed, offset: u32) -> u64 {
    let word = global!(CONFIG.word_type);
    if word != 0 {
        // SAFETY: the verifier checks what is read.
        let member = unsafe { base.add(offset as usize) };
        return typed_at(cast(member as u64, word), 0);
    }
    let mut address = 0_u64;
    // SAFETY: the destination has eight bytes.
    unsafe {
        let from = base.add(offset as usize).cast();
        bpf_probe_read_kernel((&raw mut address).cast(), 8, from);
    }
    address
}

/// Reads kernel memory at `address`; `None`, or zeroes where the kernel can do without the helper, when there is none.
#[inline(always)]
pub(crate) fn probe_at<T: Copy>(address: u64) -> Option<T> {
    if size_of::<T>() <= size_of::<u64>() && global!(CONFIG.word_type) != 0 {
        return Some(typed_at(cast(address, global!(CONFIG.word_type)), 0));
    }
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the destination has room for `T`; on success all of it is written.
    unsafe {
        let status =
            bpf_probe_read_kernel(value.as_mut_ptr().cast(), size_of::<T>() as u32, address as *const _);
        (status == 0).then(|| value.assume_init())
    }
}

/// Makes the verifier take `address` for that of a structure of this type. By `word_type`, what is read
/// through it is a number, whatever it is, and faults to zero. The call is no instruction (`bpf_fixup_kfunc_call`): a
/// read costs a fifth of what it costs by the helper.
#[inline(always)]
fn cast(address: u64, to: u32) -> Typed {
    let typed;
    // SAFETY: the kernel's calling convention; what is returned is only read.
    unsafe {
        asm!(
            "call {mark}",
            mark = const CAST_MARK,
            inlateout("r1") address => _,
            inlateout("r2") u64::from(to) => _,
            lateout("r0") typed,
            lateout("r3") _,
            lateout("r4") _,
            lateout("r5") _,
        );
    }
    typed
}

/// As long as it is there, no other thread runs on this CPU. Up to Linux 6.19 none does while a program runs, and it is no
/// instruction; since 7.0, programs on most tracepoints can be preempted, and the kernel leaves out those of the
/// other threads that come meanwhile. Their scratch memory would be shared as well.
#[must_use]
pub(crate) struct Alone(());

/// Keeps other threads away from this CPU until what is returned goes.
#[inline(always)]
pub(crate) fn alone() -> Alone {
    call_mark::<ALONE_MARK>();
    Alone(())
}

impl Drop for Alone {
    #[inline(always)]
    fn drop(&mut self) {
        call_mark::<SHARED_MARK>();
    }
}

/// Calls what user space puts in place of one of the marks, without arguments.
#[inline(always)]
fn call_mark<const MARK: i32>() {
    // SAFETY: the kernel's calling convention; the verifier makes sure that one call follows the other.
    unsafe {
        asm!(
            "call {mark}",
            mark = const MARK,
            lateout("r0") _,
            lateout("r1") _,
            lateout("r2") _,
            lateout("r3") _,
            lateout("r4") _,
            lateout("r5") _,
        );
    }
}

/// Reads two members of the structure at `base`, in one go when they lie close together: a call of the helper
/// costs more than some bytes. The verifier knows the offsets, and leaves only one of the two ways.
#[inline(always)]
pub(crate) fn probe_both<A: Copy, B: Copy>(base: u64, first: u32, second: u32) -> Option<(A, B)> {
    const WINDOW: usize = 64;
    if global!(CONFIG.word_type) != 0 {
        return Some((probe_at(base + u64::from(first))?, probe_at(base + u64::from(second))?));
    }
    let start = if first < second { first } else { second };
    let last = if first < second { second } else { first };
    let len = last - start + 8;
    if len > WINDOW as u32 {
        return Some((probe_at(base + u64::from(first))?, probe_at(base + u64::from(second))?));
    }
    let mut window = MaybeUninit::<[u64; WINDOW / 8]>::uninit();
    let place = window.as_mut_ptr().cast::<u8>();
    // SAFETY: the window has room for `len` bytes, which hold both members.
    unsafe {
        if bpf_probe_read_kernel(place.cast(), len, (base + u64::from(start)) as *const _) != 0 {
            return None;
        }
        let first = place.add((first - start) as usize).cast::<A>().read_volatile();
        let second = place.add((second - start) as usize).cast::<B>().read_volatile();
        Some((first, second))
    }
}

/// Reads the memory of the running process.
#[inline(always)]
pub(crate) fn probe_user<T: Copy>(address: u64) -> Option<T> {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the destination has room for `T`; on success all of it is written.
    unsafe {
        let status =
            bpf_probe_read_user(value.as_mut_ptr().cast(), size_of::<T>() as u32, address as *const _);
        (status == 0).then(|| value.assume_init())
    }
}

/// Writes `new` to the word if it is `old`; says whether it was.
#[inline(always)]
pub(crate) fn swap_if(word: *mut u64, old: u64, new: u64) -> bool {
    let mut found = old;
    // SAFETY: `word` is map memory, as the verifier makes sure.
    unsafe {
        asm!("r0 = cmpxchg_64({word} + 0, r0, {new})", word = in(reg) word, new = in(reg) new, inout("r0") found);
    }
    found == old
}

/// Adds to the word and returns what it was.
#[inline(always)]
pub(crate) fn fetch_add(word: *mut u64, value: u64) -> u64 {
    let mut register = value;
    // SAFETY: `word` is map memory, as the verifier makes sure.
    unsafe {
        asm!("{value} = atomic_fetch_add((u64 *)({word} + 0), {value})", word = in(reg) word, value = inout(reg) register);
    }
    register
}

/// Sets bits of the word and returns what it was.
#[inline(always)]
pub(crate) fn fetch_or(word: *mut u64, bits: u64) -> u64 {
    let mut register = bits;
    // SAFETY: as above.
    unsafe {
        asm!("{bits} = atomic_fetch_or((u64 *)({word} + 0), {bits})", word = in(reg) word, bits = inout(reg) register);
    }
    register
}

/// Keeps only `bits` of the word and returns what it was.
#[inline(always)]
pub(crate) fn fetch_and(word: *mut u64, bits: u64) -> u64 {
    let mut register = bits;
    // SAFETY: as above.
    unsafe {
        asm!("{bits} = atomic_fetch_and((u64 *)({word} + 0), {bits})", word = in(reg) word, bits = inout(reg) register);
    }
    register
}

/// The value without its other bits. The verifier knows nothing of what a global function returns; the compiler
/// does, and leaves out a mask that it thinks is not needed.
#[inline(always)]
pub(crate) fn lowest_bit(mut value: u64) -> u64 {
    // SAFETY: arithmetic on a register.
    unsafe { asm!("{value} &= 1", value = inout(reg) value) };
    value
}

/// The value, which is below 1024. The verifier of Linux 6.1 does not know that of a product; the compiler does, and
/// leaves out a comparison that it thinks is not needed.
#[inline(always)]
pub(crate) fn below_1024(mut value: u32) -> u32 {
    // SAFETY: arithmetic on a register.
    unsafe { asm!("{value} &= 1023", value = inout(reg) value) };
    value
}
