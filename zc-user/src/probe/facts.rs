//! Facts about this machine and this process.

/// What is missing to load programs, in words, or `None`.
pub fn missing_privileges() -> Option<String> {
    None
}
