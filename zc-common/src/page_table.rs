//! Entries of page tables, and how the kernel's mapping of all physical memory is told from what only looks like it. x86-64.
//!
//! Bits are those of the Intel SDM, volume 3A, chapter 4.5, and of `arch/x86/include/asm/pgtable_types.h`.

/// The entry maps something (`_PAGE_PRESENT`).
pub const ENTRY_PRESENT: u64 = 1;
/// May be written (`_PAGE_RW`).
pub const ENTRY_WRITABLE: u64 = 2;
/// Was used (`_PAGE_ACCESSED`).
const ENTRY_ACCESSED: u64 = 0x20;
/// Was written (`_PAGE_DIRTY`).
pub const ENTRY_DIRTY: u64 = 0x40;
/// The entry maps memory itself, a huge page, instead of the next level (`_PAGE_PSE`).
pub const ENTRY_LEAF: u64 = 0x80;
/// Stays when page tables change, without isolation of the kernel's (`_PAGE_GLOBAL`).
const ENTRY_GLOBAL: u64 = 0x100;
/// Left to software (`_PAGE_SOFTW1` to `3`).
const ENTRY_SOFTWARE: u64 = 0xE00;
/// Where the memory is (`PTE_PFN_MASK`). On machines with memory encryption another bit is set in entries: there
/// the kernel's mapping is not found.
pub const ENTRY_FRAME: u64 = 0x000F_FFFF_FFFF_F000;
/// No instructions are there (`_PAGE_NX`).
const ENTRY_DATA: u64 = 1 << 63;

/// What the kernel's mapping of physical memory is made of (`__PAGE_KERNEL`, `__PAGE_KERNEL_LARGE`).
const KERNEL_DATA: u64 = ENTRY_PRESENT | ENTRY_WRITABLE | ENTRY_ACCESSED | ENTRY_DIRTY | ENTRY_DATA;

/// Whether `entry`, found for `address` on the level of `shift` address bits when physical memory is taken to be
/// mapped from `direct_map` on, is the one that maps `address` there.
///
/// Where that is taken wrong, `entry` is a word of anything in memory: a small number can name the right frame, when the
/// right frame is a low one. So all bits have to be as the kernel sets them (`phys_pud_init`, `phys_pmd_init`,
/// `phys_pte_init`), those that have to be zero too; `_PAGE_GLOBAL` and those left to software may be either.
#[inline(always)]
pub const fn maps_itself(entry: u64, shift: u64, address: u64, direct_map: u64) -> bool {
    let inside = (1 << shift) - 1;
    let leaf = if shift > 12 { ENTRY_LEAF } else { 0 };
    let frame = (address - direct_map) & !inside;
    entry & !(ENTRY_GLOBAL | ENTRY_SOFTWARE) == KERNEL_DATA | leaf | frame
}

/// The entry for an address, on the last level that has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The entry.
    pub entry: u64,
    /// Address bits below the entry's level: 12 on the last one.
    pub shift: u64,
}

/// Goes down from the first level at `root` to the level of `lowest` address bits, 12 at least, or to where there is
/// nothing more. `read` gives the entry at an address of the kernel; none where it cannot be read.
#[inline(always)]
pub fn descend(
    read: impl Fn(u64) -> Option<u64>,
    root: u64,
    direct_map: u64,
    address: u64,
    lowest: u64,
) -> Option<Step> {
    // The direct map begins in the upper half of what the levels can tell apart: four of them, or five.
    let mut shift = if root >> 48 == 0xFFFF { 39 } else { 48 };
    let mut table = root;
    for _ in 0..5 {
        let entry = read(table + (address >> shift & 511) * 8)?;
        if shift <= lowest || entry & ENTRY_PRESENT == 0 || shift <= 30 && entry & ENTRY_LEAF != 0 {
            return Some(Step { entry, shift });
        }
        table = direct_map + (entry & ENTRY_FRAME);
        shift -= 9;
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const DIRECT_MAP: u64 = 0xFFFF_8881_0000_0000;
    const GIB: u64 = 1 << 30;

    #[test]
    fn the_kernels_own_entries_are_known() {
        let address = DIRECT_MAP + 5 * GIB + 0x1234_5000;
        for (shift, entry) in [
            (30, 0x8000_0001_4000_01E3),
            (30, 0x8000_0001_4000_00E3),
            (21, 0x8000_0001_5220_01E3),
            (12, 0x8000_0001_5234_5163),
            (12, 0x8000_0001_5234_5363),
        ] {
            assert!(maps_itself(entry, shift, address, DIRECT_MAP), "{shift}: {entry:#x}");
        }
        // A program's own, one that may not be written, another page's, a table.
        for (shift, entry) in [
            (12, 0x8000_0001_5234_5067),
            (12, 0x8000_0001_5234_5161),
            (12, 0x8000_0001_5234_6163),
            (21, 0x8000_0001_5234_5163),
            (21, 0x0000_0001_5220_0063),
        ] {
            assert!(!maps_itself(entry, shift, address, DIRECT_MAP), "{shift}: {entry:#x}");
        }
    }

    /// The first beginning that is tried puts the table into the first GiB, the number of which is 0.
    #[test]
    fn numbers_are_no_entries() {
        let address = DIRECT_MAP + 0x1234_5000;
        for number in (0..1 << 16).chain([0x81, 0x3FFF_FFFF, u64::from(u32::MAX), u64::MAX, 1 << 63]) {
            assert!(!maps_itself(number, 30, address, DIRECT_MAP), "{number:#x}");
        }
    }

    /// A page table of `levels` levels at 0x1000 of physical memory, with the tables below it in the pages after it,
    /// and one entry on each of them: those of `address`.
    fn tables(direct_map: u64, levels: u64, address: u64, last: u64) -> BTreeMap<u64, u64> {
        let entry = |level| if level + 1 == levels { last } else { ((level + 2) * 0x1000) | 0x63 };
        let place = |level| direct_map + (level + 1) * 0x1000;
        let index = |level| address >> (12 + 9 * (levels - 1 - level)) & 511;
        (0..levels).map(|level| (place(level) + index(level) * 8, entry(level))).collect()
    }

    /// Linux with four levels, and with five (`CONFIG_X86_5LEVEL`).
    #[test]
    fn the_last_of_all_levels_is_reached() {
        for (direct_map, levels) in [(DIRECT_MAP, 4), (0xFF11_0000_4000_0000, 5), (0xFF4F_8000_0000_0000, 5)]
        {
            let root = direct_map + 0x1000;
            let last = 0x8000_0000_0000_1163;
            let memory = tables(direct_map, levels, root, last);
            let found = |lowest| descend(|at| memory.get(&at).copied(), root, direct_map, root, lowest);
            assert_eq!(found(12), Some(Step { entry: last, shift: 12 }), "{levels} levels");
            assert_eq!(
                found(21),
                Some(Step { entry: (levels * 0x1000) | 0x63, shift: 21 }),
                "{levels} levels"
            );
            assert!(maps_itself(last, 12, root, direct_map));
        }
    }

    #[test]
    fn huge_pages_and_holes_end_the_way() {
        let root = DIRECT_MAP + 0x1000;
        for (level, entry, shift) in
            [(1, 0x8000_0000_0000_01E3, 30), (2, 0x8000_0000_0020_01E3, 21), (0, 0, 39)]
        {
            let mut memory = tables(DIRECT_MAP, 4, root, 0);
            let place = DIRECT_MAP + (level + 1) * 0x1000 + (root >> shift & 511) * 8;
            assert!(memory.insert(place, entry).is_some());
            let found = descend(|at| memory.get(&at).copied(), root, DIRECT_MAP, root, 12);
            assert_eq!(found, Some(Step { entry, shift }));
        }
        assert_eq!(descend(|_| None, root, DIRECT_MAP, root, 12), None, "what cannot be read");
    }
}
