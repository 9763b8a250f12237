//! Types that cross the boundary between the kernel programs and user space.
#![cfg_attr(not(test), no_std)]
