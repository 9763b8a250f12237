//! The always-on accounting: chosen processes, a look at them now and then, and whoever asks.
//!
//! `watch` owns the kernel side and runs on the main thread; `api` serves HTTP on a thread of its own, so that no client can keep
//! the kernel's maps from being read; `archive` writes the history on another one. They talk through `handle`. `config` and `select` are pure, `scan` reads /proc.

pub mod api;
pub mod archive;
pub mod client;
pub mod config;
pub mod handle;
mod kept;
pub mod scan;
pub mod select;
pub mod serve;
mod socket;
pub mod watch;
