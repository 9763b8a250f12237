//! Numbers of the kernel to names of user space.

pub mod cgroup;
pub mod container;
pub mod unit;
