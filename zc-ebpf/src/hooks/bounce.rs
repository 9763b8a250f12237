//! Bounce buffers: which devices use them, and what of that was taken for bytes by reference before it was known.

use aya_ebpf::{
    EbpfContext as _,
    bindings::{BPF_F_NO_PREALLOC, BPF_NOEXIST},
    macros::{btf_tracepoint, map},
    maps::{HashMap, PerCpuArray},
    programs::BtfTracePointContext,
};
use zc_common::{
    bounce::{BOUNCED_MAX, NOT, PARTLY, WHOLLY, is_network},
    thread::Thread,
};

use crate::{
    account::transmission::STREAMS,
    kernel::{address_at, fetch_add, global, probe, probe_at},
    maps::SESSION,
};

/// Devices for which something was seen to bounce: `struct device` → [`WHOLLY`] or [`PARTLY`].
#[map]
static BOUNCED: HashMap<u64, u32> = HashMap::with_max_entries(BOUNCED_MAX, BPF_F_NO_PREALLOC);

/// What was last given to a device on this CPU, if that is not known to bounce.
#[repr(C)]
struct Last {
    sock: u64,
    /// The `struct device` above the network device.
    device: u64,
    bytes: u64,
}

#[map]
static LAST: PerCpuArray<Last> = PerCpuArray::with_max_entries(1, 0);

/// How many devices there can be one above the other: a disk or network device, its virtio device, and that on its bus.
const DEPTH: usize = 6;

/// `swiotlb_bounced(struct device *dev, dma_addr_t dev_addr, size_t size)`, from `swiotlb_map`: a driver makes memory ready for a
/// device, on the CPU and within the function that was given what is to be moved. The device is that of the bus.
#[btf_tracepoint(function = "swiotlb_bounced")]
pub(crate) fn zc_bounce(ctx: BtfTracePointContext) -> i32 {
    zc_bounced(address_at(ctx.as_ptr().cast(), 0));
    0
}

/// A global function: the verifier looks at it once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn zc_bounced(device: u64) -> u64 {
    let Some(session) = SESSION.get_ptr_mut(0) else { return 0 };
    if BOUNCED.get_ptr(&device).is_none() {
        let how = if bounces_all(device) { WHOLLY } else { PARTLY };
        // Another CPU may have been faster.
        let is_listed = BOUNCED.insert(&device, &how, u64::from(BPF_NOEXIST)).is_ok()
            || BOUNCED.get_ptr(&device).is_some();
        let is_storage = u64::from(!is_network_adapter(device));
        // SAFETY: map memory.
        unsafe {
            if !is_listed {
                (&raw mut (*session).bounced_unlisted).write_volatile(1);
            }
            fetch_add(&raw mut (*session).bounced_storage, is_storage);
            fetch_add(&raw mut (*session).bounced, 1);
        }
    }
    let Some(last) = LAST.get_ptr_mut(0) else { return 0 };
    // SAFETY: this CPU's.
    let (sock, above, bytes) = unsafe { ((*last).sock, (*last).device, (*last).bytes) };
    if sock == 0 || zc_how_bounced(above) == NOT.into() {
        return 0;
    }
    // SAFETY: as above.
    unsafe { (*last).sock = 0 };
    if let Some(stream) = STREAMS.get_ptr_mut(&sock) {
        // SAFETY: map memory; what the program on transmissions adds on another CPU at this moment may be lost, which leaves it
        // with its own doubts.
        unsafe {
            let doubtful = &raw mut (*stream).doubtful;
            doubtful.write_volatile(doubtful.read_volatile().wrapping_add(bytes as u32));
        }
    }
    1
}

/// Whether everything that the device moves has to bounce (`is_swiotlb_force_bounce`).
#[inline(always)]
fn bounces_all(device: u64) -> bool {
    if global!(OFFSETS.device_io_tlb_mem) == 0 || global!(OFFSETS.io_tlb_force_bounce) == 0 {
        return false;
    }
    let memory: u64 = probe!(device, device_io_tlb_mem).unwrap_or(0);
    let forced: u8 = probe!(memory, io_tlb_force_bounce).unwrap_or(0);
    forced != 0
}

#[inline(always)]
fn is_network_adapter(device: u64) -> bool {
    if global!(OFFSETS.device_bus) == 0 || global!(OFFSETS.pci_dev_dev) == 0 {
        return false;
    }
    let bus: u64 = probe!(device, device_bus).unwrap_or(0);
    let name: u64 = probe!(bus, bus_name).unwrap_or(0);
    let name: u32 = probe_at(name).unwrap_or(0);
    let pci = device - u64::from(global!(OFFSETS.pci_dev_dev));
    let class: u32 = probe!(pci, pci_dev_class).unwrap_or(0);
    is_network(name, class)
}

/// Whether anything was seen to bounce in this session. Seldom, so that the rest is left to [`zc_how_bounced`].
#[inline(always)]
pub(crate) fn has_bounced() -> bool {
    // SAFETY: map memory.
    SESSION.get_ptr(0).is_some_and(|session| unsafe { (&raw const (*session).bounced).read_volatile() } != 0)
}

/// [`WHOLLY`], [`PARTLY`] or [`NOT`], of a `struct device` or one of those above it. A global function, as above.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn zc_how_bounced(device: u64) -> u64 {
    let Some(session) = SESSION.get_ptr(0) else { return NOT.into() };
    let mut device = device;
    let mut level = 0;
    while level < DEPTH {
        if device == 0 {
            break;
        }
        // SAFETY: only read; entries are not taken out.
        if let Some(how) = unsafe { BOUNCED.get(&device) } {
            return u64::from(*how);
        }
        device = probe!(device, device_parent).unwrap_or(0);
        level += 1;
    }
    // SAFETY: map memory.
    let unlisted = unsafe { (&raw const (*session).bounced_unlisted).read_volatile() };
    if unlisted == 0 { NOT.into() } else { PARTLY.into() }
}

/// How many devices that may be storage were seen to bounce.
#[inline(always)]
pub(crate) fn storage_that_bounces() -> u64 {
    // SAFETY: map memory.
    SESSION.get_ptr(0).map_or(0, |session| unsafe { (&raw const (*session).bounced_storage).read_volatile() })
}

/// Whether a device may have been found to bounce since it was asked for the bytes of the call that has just ended.
#[inline(always)]
pub(crate) fn is_found_since(thread: *mut Thread) -> bool {
    // SAFETY: map memory, only this thread's.
    storage_that_bounces() != unsafe { (&raw const (*thread).call_bounced).read_volatile() }
}

/// The `struct device` above a network device; 0 for one that is none of hardware.
#[inline(always)]
pub(crate) fn above(network_device: u64) -> u64 {
    if global!(OFFSETS.device_dev_parent) == 0 {
        return 0;
    }
    probe!(network_device, device_dev_parent).unwrap_or(0)
}

/// Notes what a device is given that was not seen to bounce: it may do so in a moment.
#[inline(always)]
pub(crate) fn note(sock: u64, device: u64, bytes: u32) {
    if let Some(last) = LAST.get_ptr_mut(0) {
        // SAFETY: this CPU's.
        unsafe { last.write(Last { sock, device, bytes: bytes.into() }) };
    }
}
