//! What memory a page is.

use crate::kernel::probe;

/// Bits of `mapping` (`FOLIO_MAPPING_ANON`, and what moves pages that are nobody's).
pub(crate) const ANONYMOUS: u64 = 1;
pub(crate) const MARKS: u64 = 3;

/// The first page of the folio that a page is in.
#[inline(always)]
pub(crate) fn first_page(page: u64) -> Option<u64> {
    Some(zc_common::folio::first_page(page, probe!(page, page_compound_head)?))
}
