//! The programs, a file for each family of hooks.

pub(crate) mod bounce;
mod floor;
mod inside;
mod page_fault;
mod process;
mod received;
mod ring;
mod sched;
mod storage;
mod syscalls;
mod task;
mod transmission;
mod zerocopy;
