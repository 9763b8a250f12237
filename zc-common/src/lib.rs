//! The types that cross the boundary between the kernel programs and user space, and the pure
//! arithmetic on them.
//!
//! Everything here is `#[repr(C)]`, has no padding (asserted beside each type) and is tested on the
//! host. What is only stored in the kernel but never read by user space is here too when its logic
//! is worth a host test ([`pair`]).
#![cfg_attr(not(any(test, feature = "user")), no_std)]
#![expect(
    clippy::inline_always,
    reason = "the eBPF target has no calls worth making: a callee is verified again at every call"
)]

pub mod attach;
pub mod bounce;
pub mod config;
pub mod fault;
pub mod folio;
pub mod inside;
pub mod loss;
pub mod mapping;
pub mod maps;
pub mod object;
pub mod page_table;
pub mod pair;
pub mod path;
pub mod pipe;
pub mod record;
pub mod ring;
pub mod row;
pub mod session;
pub mod thread;
pub mod transmission;
pub mod zerocopy;

/// Asserts the size of a type that crosses the kernel boundary, and that its fields fill it.
///
/// A field list that does not add up to the size means padding: bytes of uninitialised memory that
/// the verifier refuses, and that compare unequal in a hash key.
macro_rules! assert_layout {
    ($type:ty, $size:expr, [$($field:ty),* $(,)?]) => {
        const _: () = assert!(core::mem::size_of::<$type>() == $size);
        const _: () = assert!(0 $(+ core::mem::size_of::<$field>())* == $size);
    };
}
pub(crate) use assert_layout;

/// Marks types that are plain old data for aya's maps.
macro_rules! pod {
    ($($type:ty),* $(,)?) => {$(
        // SAFETY: `#[repr(C)]`, only integers and arrays of them, no padding (see `assert_layout!`).
        #[cfg(feature = "user")]
        unsafe impl aya::Pod for $type {}
    )*};
}
pub(crate) use pod;
