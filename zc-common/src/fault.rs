//! Page faults on mapped files: what one of them made accessible, from the page table before and after it. x86-64.
//!
//! The kernel maps more than the page that was touched: up to 16 pages around it that are in the page cache
//! (`do_fault_around`), all pages of a large folio (`finish_fault`, since Linux 6.15 or so), a huge page where it can. And it
//! maps less, when pages are not in the page cache or were mapped before. So entries of the page table are what is counted.

use crate::{
    assert_layout,
    mapping::{MAPPING_SHARED, MAPPING_WRITABLE, Mapping},
    page_table::{ENTRY_DIRTY, ENTRY_FRAME, ENTRY_PRESENT, ENTRY_WRITABLE},
    pod,
};

/// Bytes of a page.
pub const PAGE: u64 = 4096;
/// Pages of a group: what one word says of.
pub const GROUP_PAGES: u64 = 64;
/// Groups of a window.
pub const GROUPS: usize = 8;
/// Pages of a window: those of one table on the last level, which one entry of the level above can also map at once.
pub const HUGE_PAGES: u64 = 512;

/// Of a page fault's error code: there was an entry of the page table (`X86_PF_PROT`).
pub const FAULT_PRESENT: u32 = 1;
/// Of a page fault's error code: the program wanted to write (`X86_PF_WRITE`).
pub const FAULT_WRITE: u32 = 2;
/// The fault was taken in the kernel, within a call.
pub const FAULT_IN_CALL: u32 = 1 << 16;
/// The page of the fault has been counted.
pub const FAULT_COUNTED: u32 = 1 << 17;
/// What is mapped at the address is still to be found out.
pub const FAULT_UNPLACED: u32 = 1 << 18;

/// The program that took the fault is gone, with its memory.
pub const FAULT_GONE: u32 = 1 << 19;

/// The page table could not be read.
pub const WINDOW_UNREAD: u32 = 0;
/// There is no last level of the page table here: no page of the window is mapped.
pub const WINDOW_EMPTY: u32 = 1;
/// There is one.
pub const WINDOW_TABLE: u32 = 2;
/// A huge page is mapped here.
pub const WINDOW_HUGE: u32 = 3;

/// What the page table says of the pages around a fault.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// The entry of the page that the fault is about.
    pub entry: u64,
    /// `WINDOW_*`.
    pub state: u32,
    /// Always zero.
    pub reserved: u32,
    /// Bit m of word n: page 64 n + m of the window is mapped. All zero when only the entry was asked for.
    pub present: [u64; GROUPS],
}

impl Window {
    /// Nothing is known.
    pub const UNREAD: Self = Self { entry: 0, state: WINDOW_UNREAD, reserved: 0, present: [0; GROUPS] };
}

/// A page fault on a mapped file that is in progress, or is over and not accounted for yet.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fault {
    /// What was touched; 0 when there is no fault.
    pub address: u64,
    /// `min_flt` and `maj_flt` of the task, added, when it began.
    pub faults: u64,
    /// `maj_flt` alone.
    pub major: u64,
    /// The page table when it began.
    pub before: Window,
    /// Object id of the file.
    pub object: u32,
    /// `MAPPING_*` of what is mapped there.
    pub mapping: u32,
    /// `FAULT_*`.
    pub flags: u32,
    /// Pages that have been counted.
    pub pages: u32,
    /// Voluntary switches within it.
    pub voluntary: u32,
    /// Involuntary switches within it.
    pub involuntary: u32,
}

assert_layout!(Window, 80, [u64, u32, u32, [u64; GROUPS]]);
assert_layout!(Fault, 128, [[u64; 3], Window, [u32; 6]]);
pod!(Window, Fault);

/// What a fault came to, beside the pages that are mapped since.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Outcome {
    /// Pages that were not counted are mapped since, the fault's own among them.
    pub mapped: bool,
    /// A huge page is.
    pub huge: bool,
    /// The page was copied: it is the process's own by now.
    pub copied: bool,
    /// What was mapped of a shared mapping may be written, or the page that was mapped before.
    pub writable: bool,
}

impl Fault {
    /// No fault.
    pub const NONE: Self = Self {
        address: 0,
        faults: 0,
        major: 0,
        before: Window::UNREAD,
        object: 0,
        mapping: 0,
        flags: 0,
        pages: 0,
        voluntary: 0,
        involuntary: 0,
    };

    const fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    /// Whether other pages may come with the one that was touched: not when it was there, or is copied.
    #[inline(always)]
    pub const fn maps_others(flags: u32, mapping: u32) -> bool {
        flags & FAULT_PRESENT == 0 && (flags & FAULT_WRITE == 0 || mapping & MAPPING_SHARED != 0)
    }

    /// The bit of the fault's own page in the word of group `group`; 0 in others.
    #[inline(always)]
    pub const fn own_page(&self, group: usize) -> u64 {
        let page = self.address / PAGE % HUGE_PAGES;
        if page / GROUP_PAGES == group as u64 { 1 << (page % GROUP_PAGES) } else { 0 }
    }

    /// The page was not missing but elsewhere: swapped out, being moved, or protected for a look at its use. Then it is
    /// not taken from the file.
    #[inline(always)]
    const fn is_elsewhere(&self) -> bool {
        self.before.state == WINDOW_TABLE && !self.has(FAULT_PRESENT) && self.before.entry != 0
    }

    /// Pages of group `group` that are mapped in `now` and were not before.
    #[inline(always)]
    pub const fn newly_mapped(&self, now: &Window, group: usize) -> u64 {
        let seen = self.before.state == WINDOW_EMPTY || self.before.state == WINDOW_TABLE;
        if seen && now.state == WINDOW_TABLE { now.present[group] & !self.before.present[group] } else { 0 }
    }

    /// What the fault came to, when it was served; `now` is the page table after it, as far as there still is one.
    #[inline(always)]
    pub const fn outcome(&self, now: &Window) -> Outcome {
        let mut outcome = Outcome { mapped: false, huge: false, copied: false, writable: false };
        if self.is_elsewhere() {
            return outcome;
        }
        let before = self.before;
        if !self.has(FAULT_PRESENT) && !self.has(FAULT_COUNTED) {
            outcome.huge = before.state == WINDOW_EMPTY && now.state == WINDOW_HUGE;
            // A fault that was served has mapped its page, whatever has become of it since.
            outcome.mapped = true;
        }
        if !self.has(FAULT_WRITE) || self.mapping & MAPPING_WRITABLE == 0 {
            return outcome;
        }
        let seen = before.state == WINDOW_TABLE && before.entry & ENTRY_PRESENT != 0;
        if self.mapping & MAPPING_SHARED != 0 {
            // Not when the processor had only kept an older entry.
            outcome.writable = !seen || before.entry & ENTRY_WRITABLE == 0;
        } else if !self.has(FAULT_PRESENT) {
            outcome.copied = true;
        } else if seen && now.state == WINDOW_TABLE && now.entry & ENTRY_PRESENT != 0 {
            // A page that was the process's own already is only made writable again.
            outcome.copied = (before.entry ^ now.entry) & ENTRY_FRAME != 0;
        } else {
            // It is gone by now. What was written before was a copy before.
            outcome.copied = !seen || before.entry & ENTRY_DIRTY == 0;
        }
        outcome
    }

    /// Pages were mapped around the one that was touched: `now` has to show them. A page table that does not is not
    /// the process's, and what it showed before says nothing either.
    #[inline(always)]
    pub const fn doubt(&mut self, now: &Window) {
        if now.state == WINDOW_EMPTY {
            self.before = Window::UNREAD;
        }
    }

    /// Whether the page table was read before the fault.
    #[inline(always)]
    pub const fn is_seen(&self) -> bool {
        self.before.state != WINDOW_UNREAD
    }

    /// Says what is mapped where the fault is.
    #[inline(always)]
    pub const fn place(&mut self, mapping: &Mapping) {
        self.object = mapping.object;
        self.mapping = mapping.flags;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRIVATE: u32 = MAPPING_WRITABLE;
    const SHARED: u32 = MAPPING_WRITABLE | MAPPING_SHARED;
    const NOTHING: Outcome = Outcome { mapped: false, huge: false, copied: false, writable: false };

    fn table(entry: u64, first_group: u64) -> Window {
        let present = [first_group, 0, 0, 0, 0, 0, 0, 1];
        Window { entry, present, state: WINDOW_TABLE, reserved: 0 }
    }

    fn empty() -> Window {
        Window { state: WINDOW_EMPTY, ..Window::UNREAD }
    }

    /// A fault on page 3 of a window.
    fn fault(flags: u32, mapping: u32, before: Window) -> Fault {
        Fault { address: 0x20_3123, flags, mapping, before, ..Fault::NONE }
    }

    #[test]
    fn pages_that_were_there_before_do_not_count_again() {
        let fault = fault(0, 0, table(0, 0b1_0110_0000));
        let now = table(0x5025, 0b1_0111_1001);
        assert_eq!((fault.newly_mapped(&now, 0), fault.newly_mapped(&now, 7)), (0b0001_1001, 0));
        assert_eq!(Fault { before: empty(), ..fault }.newly_mapped(&now, 7), 1);
        assert_eq!(Fault { before: Window::UNREAD, ..fault }.newly_mapped(&now, 7), 0);
        assert_eq!((fault.own_page(0), fault.own_page(1)), (0b1000, 0));
        let last = Fault { address: 0x3F_FFFF, ..fault };
        assert_eq!((last.own_page(0), last.own_page(7)), (0, 1 << 63));
    }

    #[test]
    fn a_served_fault_has_mapped_its_page_though_nothing_is_left_of_it() {
        for before in [empty(), table(0, 0), Window::UNREAD] {
            for now in [empty(), Window::UNREAD, table(0, 0)] {
                assert_eq!(fault(0, PRIVATE, before).outcome(&now), Outcome { mapped: true, ..NOTHING });
            }
        }
        assert_eq!(fault(FAULT_COUNTED, PRIVATE, empty()).outcome(&table(0x5025, 8)), NOTHING);
    }

    #[test]
    fn a_huge_page_counts_only_where_nothing_was() {
        let now = Window { state: WINDOW_HUGE, ..Window::UNREAD };
        assert!(fault(0, 0, empty()).outcome(&now).huge);
        assert!(!fault(0, 0, table(0, 0)).outcome(&now).huge);
        assert!(!fault(0, 0, Window::UNREAD).outcome(&now).huge);
    }

    #[test]
    fn writes_to_private_mappings_copy_what_is_not_the_processs_own() {
        let (file, own) = (table(0x5025, 8), table(0x9067, 8));
        let missing = fault(FAULT_WRITE, PRIVATE, table(0, 0));
        assert_eq!(missing.outcome(&own), Outcome { mapped: true, copied: true, ..NOTHING });
        let present = fault(FAULT_WRITE | FAULT_PRESENT, PRIVATE, file);
        assert_eq!(present.outcome(&own), Outcome { copied: true, ..NOTHING });
        // The same page, made writable: after a fork, or with its protection changed.
        let again = fault(FAULT_WRITE | FAULT_PRESENT, PRIVATE, table(0x9065, 8));
        assert_eq!(again.outcome(&own), NOTHING);
        // Unmapped since.
        assert!(
            present.outcome(&empty()).copied && !fault(3, PRIVATE, table(0x9045, 8)).outcome(&empty()).copied
        );
        // Not allowed to write at all: an error, or a stale entry.
        assert_eq!(fault(FAULT_WRITE | FAULT_PRESENT, 0, file).outcome(&own), NOTHING);
    }

    #[test]
    fn writes_to_shared_mappings_make_pages_writable_once() {
        let missing = fault(FAULT_WRITE, SHARED, table(0, 0));
        let writable = Outcome { writable: true, ..NOTHING };
        assert_eq!(missing.outcome(&table(0x5067, 8)), Outcome { mapped: true, ..writable });
        let clean = fault(FAULT_WRITE | FAULT_PRESENT, SHARED, table(0x5025, 8));
        assert_eq!(clean.outcome(&table(0x5067, 8)), writable);
        let stale = fault(FAULT_WRITE | FAULT_PRESENT, SHARED, table(0x5067, 8));
        assert_eq!(stale.outcome(&table(0x5067, 8)), NOTHING);
    }

    #[test]
    fn a_table_that_shows_nothing_of_what_was_mapped_is_not_believed() {
        for (now, is_seen) in [(empty(), false), (table(0x5025, 8), true), (Window::UNREAD, true)] {
            let mut fault = fault(0, PRIVATE, empty());
            fault.doubt(&now);
            assert_eq!(fault.is_seen(), is_seen);
        }
    }

    #[test]
    fn what_comes_back_from_swap_is_not_from_the_file() {
        for flags in [0, FAULT_WRITE] {
            let swapped = fault(flags, PRIVATE, table(0xABCD_0000, 0));
            assert_eq!(swapped.outcome(&table(0x9067, 8)), NOTHING);
        }
    }

    #[test]
    fn only_pages_of_the_file_bring_others_along() {
        assert!(Fault::maps_others(0, PRIVATE) && Fault::maps_others(FAULT_WRITE, SHARED));
        assert!(!Fault::maps_others(FAULT_WRITE, PRIVATE) && !Fault::maps_others(FAULT_PRESENT, SHARED));
    }
}
