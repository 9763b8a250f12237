//! HTTP/1.1 for whoever may ask: on the Unix socket everything, on loopback what says nothing of single processes.

mod past;
mod query;
mod routes;
mod server;

pub use server::{Bounds, Listeners, serve};

/// The description of this interface, as it is served.
pub const OPENAPI: &str = include_str!("openapi.json");
