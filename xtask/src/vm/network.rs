//! Network devices of a virtual machine: three pairs of virtio-net, of which each device is joined to the other of its pair.
//!
//! Nothing else is reached by them. The first pair is joined by two tap devices and a bridge on this machine, in a network namespace
//! that has no name and ends with QEMU: a tap takes packets with their head (`vnet_hdr`), so that what they are made of is left
//! to the device (scatter-gather, checksums, segmentation). The second pair is joined by a hub within QEMU, which takes plain packets.
//! The third is like the first, but its drivers make memory ready for it as for a device on a bus (`VIRTIO_F_ACCESS_PLATFORM`): by
//! bounce buffers, as the kernel is told ([`super::machine`]).

use std::{ffi::OsStr, process::Command};

/// What the devices of the first pair and of the third are joined by; the rest of the words is run then.
const JOIN: &str = "set -e
for pair in 0 2; do
    ip link add \"zcbridge$pair\" type bridge
    for tap in $pair $((pair + 1)); do
        ip tuntap add \"zctap$tap\" mode tap vnet_hdr
        ip link set \"zctap$tap\" master \"zcbridge$pair\" up
    done
    ip link set \"zcbridge$pair\" up
done
exec \"$@\"";

/// The first bytes of the devices' addresses; the last one is the device's number.
pub(super) const ADDRESS: &str = "52:54:00:7a:63";

/// Which devices a machine has.
#[derive(Clone, Debug)]
pub(super) struct Network {
    /// Why there are none of the first pair and of the third.
    pub(super) no_pieces: Option<String>,
}

impl Network {
    /// Tries what these need of this machine.
    pub(super) fn probe() -> Self {
        let reason = match joined("true").output() {
            Ok(output) if output.status.success() => None,
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr);
                Some(said.lines().last().unwrap_or("they cannot be made").to_owned())
            }
            Err(error) => Some(error.to_string()),
        };
        Self { no_pieces: reason.map(|reason| format!("no tap devices on the host: {reason}")) }
    }

    /// Begins a command with this program, where these are joined.
    pub(super) fn command(&self, program: &str) -> Command {
        if self.no_pieces.is_some() { Command::new(program) } else { joined(program) }
    }

    /// What QEMU is told.
    pub(super) fn arguments(&self) -> Vec<String> {
        let mut arguments = Vec::new();
        if self.no_pieces.is_none() {
            for (tap, number, more) in [(0, 1, ""), (1, 2, ""), (2, 5, BOUNCED), (3, 6, BOUNCED)] {
                let end = format!("tap,ifname=zctap{tap},script=no,downscript=no,vnet_hdr=on");
                arguments.extend(device(&end, number, more));
            }
        }
        for number in [3, 4] {
            arguments.extend(device("hubport,hubid=0", number, ""));
        }
        arguments
    }
}

/// What makes a virtio device one whose driver uses bounce buffers.
pub(super) const BOUNCED: &str = ",iommu_platform=on,disable-legacy=on";

/// One device and its end on the host.
fn device(end: &str, number: u32, more: &str) -> [String; 4] {
    let device = format!("virtio-net-pci,netdev=net{number},mac={ADDRESS}:{number:02},romfile={more}");
    ["-netdev".to_owned(), format!("{end},id=net{number}"), "-device".to_owned(), device]
}

fn joined(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--net", "sh", "-c", JOIN, "sh"]).arg(program);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_without_a_tap_are_the_second_pair_alone() {
        let both = Network { no_pieces: None }.arguments();
        assert_eq!(both.iter().filter(|word| *word == "-device").count(), 6);
        let one = Network { no_pieces: Some("none".to_owned()) };
        assert!(one.arguments().iter().all(|word| !word.contains("tap")), "{:?}", one.arguments());
        assert_eq!(one.command("qemu").get_program(), "qemu");
    }

    #[test]
    fn each_device_has_an_address_of_its_own() {
        let words = Network { no_pieces: None }.arguments();
        let addresses: Vec<_> = words.iter().filter_map(|word| word.split_once("mac=")).collect();
        let mut numbers: Vec<_> = addresses.iter().map(|(_, address)| &address[15..17]).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, ["01", "02", "03", "04", "05", "06"]);
    }
}
