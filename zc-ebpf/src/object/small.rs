//! Descriptors below 64, in the table that is part of `struct files_struct` itself.
//!
//! There the verifier knows the type of each entry, and what is read through it needs no helper; but only when
//! the entry is chosen by a constant, hence one arm for each. That saves a quarter of what a traced call costs,
//! and few processes open more.

use core::arch::asm;

use super::File;
use crate::kernel::{Typed, current, global, typed};

/// Finds what descriptor `fd` stands for, if the table at `array` is the one in `files`. False when it is not, or
/// the descriptor is not open.
#[inline(always)]
pub(super) fn find(files: Typed, array: u64, fd: u32, found: &mut File) -> bool {
    let inside = files as u64 + u64::from(global!(OFFSETS.files_fd_array));
    array == inside && zc_small_fd(u64::from(fd), found) != 0
}

/// A global function: the verifier looks at it once, and forgets which arm was taken.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn zc_small_fd(fd: u64, found: *mut File) -> u64 {
    let files: Typed = typed!(current(), task_files);
    if found.is_null() || files.is_null() {
        return 0;
    }
    // SAFETY: an address for `slot!`.
    let table = unsafe { files.add(global!(OFFSETS.files_fd_array) as usize) };
    let file = slot(table, fd);
    if file.is_null() {
        return 0;
    }
    let inode: Typed = typed!(file, file_f_inode);
    if inode.is_null() {
        return 0;
    }
    // SAFETY: the only caller passes a reference.
    unsafe {
        (*found).file = file as u64;
        (*found).inode = inode as u64;
        (*found).number = typed!(inode, inode_i_ino);
        (*found).generation = typed!(inode, inode_i_generation);
        (*found).flags = typed!(file, file_f_flags);
    }
    1
}

/// Entry `fd` of the table.
#[inline(always)]
fn slot(table: Typed, fd: u64) -> Typed {
    /// A load at an offset that the compiler cannot make variable again.
    macro_rules! slot {
        ($offset:literal) => {{
            let file: Typed;
            // SAFETY: the verifier knows that the table has this entry.
            unsafe {
                asm!(concat!("{file} = *(u64 *)({table} + ", $offset, ")"), file = out(reg) file, table = in(reg) table);
            }
            file
        }};
    }
    match fd {
        0 => slot!(0),
        1 => slot!(8),
        2 => slot!(16),
        3 => slot!(24),
        4 => slot!(32),
        5 => slot!(40),
        6 => slot!(48),
        7 => slot!(56),
        8 => slot!(64),
        9 => slot!(72),
        10 => slot!(80),
        11 => slot!(88),
        12 => slot!(96),
        13 => slot!(104),
        14 => slot!(112),
        15 => slot!(120),
        16 => slot!(128),
        17 => slot!(136),
        18 => slot!(144),
        19 => slot!(152),
        20 => slot!(160),
        21 => slot!(168),
        22 => slot!(176),
        23 => slot!(184),
        24 => slot!(192),
        25 => slot!(200),
        26 => slot!(208),
        27 => slot!(216),
        28 => slot!(224),
        29 => slot!(232),
        30 => slot!(240),
        31 => slot!(248),
        32 => slot!(256),
        33 => slot!(264),
        34 => slot!(272),
        35 => slot!(280),
        36 => slot!(288),
        37 => slot!(296),
        38 => slot!(304),
        39 => slot!(312),
        40 => slot!(320),
        41 => slot!(328),
        42 => slot!(336),
        43 => slot!(344),
        44 => slot!(352),
        45 => slot!(360),
        46 => slot!(368),
        47 => slot!(376),
        48 => slot!(384),
        49 => slot!(392),
        50 => slot!(400),
        51 => slot!(408),
        52 => slot!(416),
        53 => slot!(424),
        54 => slot!(432),
        55 => slot!(440),
        56 => slot!(448),
        57 => slot!(456),
        58 => slot!(464),
        59 => slot!(472),
        60 => slot!(480),
        61 => slot!(488),
        62 => slot!(496),
        63 => slot!(504),
        _ => core::ptr::null(),
    }
}
