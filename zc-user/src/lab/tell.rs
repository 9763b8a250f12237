//! What workers tell `zc lab` through a pipe: a JSON object on a line.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "lowercase")]
pub enum Told {
    /// A step is about to begin; so many of the file's pages are in the cache.
    Begins {
        /// The step's name.
        step: String,
        /// Pages in the cache.
        resident: u64,
        /// Pages of the file.
        pages: u64,
    },
    /// A step was done.
    Done {
        /// The step's name.
        step: String,
        /// Payload, as the worker counted it.
        bytes: u64,
        /// Time that the transfers took.
        nanoseconds: u64,
        /// What else the worker saw.
        facts: BTreeMap<String, u64>,
    },
    /// A step could not be done.
    Skipped {
        /// The step's name.
        step: String,
        /// Why.
        why: String,
    },
}

/// Of `facts`: sends with `MSG_ZEROCOPY` of which the kernel reported that it had copied them.
pub const REPORTED_COPIED: &str = "reported_copied";
/// Of `facts`: sends with `MSG_ZEROCOPY` that the kernel reported.
pub const REPORTED: &str = "reported";
/// Of `facts`: pages that were the same physical page in both processes.
pub const SAME_PAGES: &str = "same_pages";
/// Of `facts`: the two files share extents.
pub const SHARES_EXTENTS: &str = "shares_extents";

/// Takes whole lines off the front of `buffer`. What is no line of ours is left out.
pub fn lines(buffer: &mut Vec<u8>) -> Vec<Told> {
    let Some(end) = buffer.iter().rposition(|&byte| byte == b'\n') else { return Vec::new() };
    let rest = buffer.split_off(end + 1);
    let whole = std::mem::replace(buffer, rest);
    whole.split(|&byte| byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_may_come_in_pieces() {
        let told = Told::Skipped { step: "a/b/1".into(), why: "no \"ring\"\nhere".into() };
        let line = serde_json::to_string(&told).expect("a line") + "\n";
        assert!(!line.trim_end().contains('\n'));
        let (first, second) = line.split_at(9);
        let mut buffer = first.as_bytes().to_vec();
        assert!(lines(&mut buffer).is_empty());
        buffer.extend(second.as_bytes());
        buffer.extend(b"{\"what\":");
        assert_eq!(lines(&mut buffer), [told]);
        assert_eq!(buffer, b"{\"what\":");
    }
}
