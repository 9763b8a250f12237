//! Requests in rings, on which the kernel reports by a notification.

use aya_ebpf::{bindings::BPF_ANY, macros::map, maps::LruHashMap};
use zc_common::{loss::Loss, zerocopy::SendKey};

use super::{place, reports::zc_settle_send, zc_keep};
use crate::{account::leg::Leg, maps::lose};

/// Notes that what `leg` sends by a request in a ring will be reported on.
#[inline(always)]
pub(in super::super) fn begin_request(leg: &mut Leg, ring: u64, user_data: u64, is_reported: bool) {
    let Some(sent) = place() else { return };
    sent.sock = ring;
    sent.number = user_data;
    sent.is_reported = is_reported.into();
    sent.parts = 0;
    leg.costs.by_device = 1;
}

/// In place of the number of a send: a request in a ring, which its program has named.
const REQUEST_ID: u32 = u32::MAX;

/// Everything of a request has been noted.
#[inline(always)]
pub(in super::super) fn requested() {
    if let Some(sent) = place() {
        zc_requested(sent.sock, sent.number, sent.is_reported);
    }
}

/// A request was completed, and its notification is still to come. Requests of the same name cannot be told apart: then
/// nothing is known of them until the last one has been notified. A global function, as above.
#[unsafe(no_mangle)]
#[inline(never)]
pub(in super::super) extern "C" fn zc_requested(ring: u64, user_data: u64, is_reported: u64) -> u64 {
    let key = SendKey { sock: ring, number: user_data, id: REQUEST_ID, part: 0 };
    let known = TO_BE_NOTIFIED.get_ptr_mut(&key);
    if let Some(known) = known {
        // SAFETY: map memory. The ring is locked while completions are posted.
        unsafe {
            (*known).alive += 1;
            (*known).is_known = 0;
        }
        lose(Loss::ZerocopyUnmatched);
        return 1;
    }
    let request = Request { alive: 1, is_known: is_reported };
    let _ = TO_BE_NOTIFIED.insert(&key, &request, u64::from(BPF_ANY));
    if is_reported != 0 {
        zc_keep(REQUEST_ID.into(), REQUEST_ID.into());
    }
    1
}

/// The kernel does not use the memory of a request any more. A global function, as above.
#[unsafe(no_mangle)]
#[inline(never)]
pub(in super::super) extern "C" fn zc_notified(ring: u64, user_data: u64, copied: u64) -> u64 {
    let key = SendKey { sock: ring, number: user_data, id: REQUEST_ID, part: 0 };
    let Some(known) = TO_BE_NOTIFIED.get_ptr_mut(&key) else { return 0 };
    // SAFETY: map memory. The ring is locked while completions are posted.
    let (left, is_known) = unsafe {
        (*known).alive -= 1;
        ((*known).alive, (*known).is_known)
    };
    if left == 0 {
        let _ = TO_BE_NOTIFIED.remove(&key);
    }
    if is_known == 0 {
        return 0;
    }
    zc_settle_send(ring, user_data, REQUEST_ID.into(), copied)
}

/// Zero-copy requests of one name that were completed and not notified.
#[repr(C)]
#[derive(Clone, Copy)]
struct Request {
    alive: u64,
    /// Not zero when the notification will tell what became of the bytes.
    is_known: u64,
}

#[map]
static TO_BE_NOTIFIED: LruHashMap<SendKey, Request> = LruHashMap::with_max_entries(8192, 0);
