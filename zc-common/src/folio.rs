//! Folios: pages that the kernel has together (`struct folio`). What is known of all of them is in their first page.

/// In `page.compound_head` of a page that is not the first of its folio.
const TAIL: u64 = 1;

/// Above this there is no `struct page` (`Documentation/arch/x86/x86_64/mm.rst`: they are below `0xffff_fe00_0000_0000`), and every
/// mask that `compound_info` can hold.
const MASKS: u64 = 0xFFFF_FFFF_0000_0000;

/// The first page of the folio that `page` is in, by its `compound_head`.
///
/// Since Linux 7.1 the member is called `compound_info`. Where the size of `struct page` is a power of two and
/// `CONFIG_HUGETLB_PAGE_OPTIMIZE_VMEMMAP` is set, it then holds what the address of a page has to be masked with, and bit 0
/// (`_compound_head`, `set_compound_head`); elsewhere the address of the first page, and bit 0.
#[inline(always)]
pub const fn first_page(page: u64, compound: u64) -> u64 {
    if compound & TAIL == 0 {
        page
    } else if compound >= MASKS {
        page & compound
    } else {
        compound - TAIL
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: u64 = 0xFFFF_EA00_0423_4000;
    const BYTES: u64 = 64;

    #[test]
    fn a_page_alone_and_a_first_page_are_their_own() {
        // What else the member can be where it is none: a list's next, or zero.
        for other in [0, PAGE + BYTES, 0xFFFF_FFFF_8234_5678] {
            assert_eq!(first_page(PAGE, other), PAGE);
        }
    }

    #[test]
    fn a_tail_names_its_first_page() {
        for index in 1..512 {
            assert_eq!(first_page(PAGE + index * BYTES, PAGE | 1), PAGE);
        }
    }

    #[test]
    fn a_tail_has_a_mask_that_leads_to_its_first_page() {
        // Up to folios of 1 GiB, 2^18 pages.
        for order in 1..=18 {
            let bytes = BYTES << order;
            let first = PAGE & !(bytes - 1);
            let mask = !(bytes - 1) | 1;
            for index in [1, (1 << order) - 1] {
                assert_eq!(first_page(first + index * BYTES, mask), first, "order {order}");
            }
        }
    }
}
