//! The machine, as it is kept beside everything that is stored.

use std::{fs, path::Path};

use serde::{Deserialize, Serialize};

use crate::model::report;

/// Eight hexadecimal digits of the boot id tell machines of the same name apart.
const BOOT_DIGITS: usize = 8;
/// Longest part of a host's name in a file's name, in bytes. The kernel's limit is 64.
const NAME_BYTES: usize = 100;

/// A machine, since it was started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Host {
    /// Name of the host.
    pub hostname: String,
    /// Release of the kernel, as `uname -r` has it.
    pub kernel: String,
    /// Machine name of the processor, as `uname -m` has it.
    pub arch: String,
    /// Processors that are online.
    pub cpus: u32,
    /// `/proc/sys/kernel/random/boot_id`: times since boot (`start_ns`) are comparable under the same one only.
    pub boot_id: Option<String>,
}

impl Host {
    /// The machine of a report, if that is this one: the boot id is read here.
    pub fn this(host: &report::Host) -> Self {
        let boot_id = fs::read_to_string(Path::new("/proc/sys/kernel/random/boot_id")).ok();
        let report::Host { kernel, arch, hostname, cpus } = host.clone();
        Self { hostname, kernel, arch, cpus, boot_id: boot_id.map(|id| id.trim().to_owned()) }
    }

    /// As a report has it.
    pub fn of_report(&self) -> report::Host {
        let Self { hostname, kernel, arch, cpus, boot_id: _ } = self.clone();
        report::Host { kernel, arch, hostname, cpus }
    }

    /// What files are called by: the name, and a part of the boot id, so that machines of one name can share a store.
    pub(super) fn file_name(&self) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() || "-._".contains(c) { c } else { '_' };
        let mut name: String = self.hostname.chars().map(plain).take(NAME_BYTES).collect();
        if name.is_empty() {
            name.push_str("unknown");
        }
        if let Some(boot) = &self.boot_id {
            name.push('-');
            name.extend(boot.chars().filter(char::is_ascii_alphanumeric).take(BOOT_DIGITS));
        }
        name
    }
}
