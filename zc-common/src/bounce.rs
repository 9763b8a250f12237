//! Bounce buffers (`swiotlb`): where a device cannot reach memory, or may not, the processor copies what it moves.
//!
//! In a confidential virtual machine (SEV, TDX) no device reaches any memory of it; with `swiotlb=force` all are treated so
//! (`io_tlb_mem.force_bounce`, Linux 5.17). Other devices bounce what lies above the addresses that they know. The kernel says
//! when it has copied for a device (`swiotlb_bounced`), not for whom.

/// How many devices are told apart.
pub const BOUNCED_MAX: u32 = 64;

/// Nothing was seen to bounce on this device.
pub const NOT: u32 = 0;
/// Something was. Other memory may be within its reach.
pub const PARTLY: u32 = 1;
/// Something was, and so everything does.
pub const WHOLLY: u32 = 2;

/// Whether a device is a network adapter on a PCI bus, and so no storage: by the first four bytes of the name of its bus
/// (`bus_type.name`), and by its class (`pci_dev.class`: base class, subclass, programming interface).
#[inline(always)]
pub const fn is_network(bus: u32, class: u32) -> bool {
    const PCI: u32 = u32::from_ne_bytes(*b"pci\0");
    const NETWORK: u32 = 0x02;
    bus == PCI && class >> 16 == NETWORK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_adapters_are_those_of_pci_with_their_class() {
        let name = |bytes: &[u8; 4]| u32::from_ne_bytes(*bytes);
        assert!(is_network(name(b"pci\0"), 0x02_00_00) && is_network(name(b"pci\0"), 0x02_80_00));
        // NVMe, USB, and what is not of that bus.
        for (bus, class) in
            [(b"pci\0", 0x01_08_02), (b"pci\0", 0x0C_03_30), (b"plat", 0x02_00_00), (b"pcie", 0x02_00_00)]
        {
            assert!(!is_network(name(bus), class), "{class:#x}");
        }
    }
}
