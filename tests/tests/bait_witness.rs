//! What the baits say of their bytes, and what zc says, beside what bpftrace sees leave for the wire.

use zc_tests::{
    expect::Kind,
    fixture,
    report::Report,
    wire::{Sent, Wire},
    zc::Zc,
};

/// How often a fixture runs at most: a packet that is sent again is in bpftrace's sums twice.
const TRIES: usize = 5;

/// The fixture under zc, beside bpftrace: the report, and what was sent to the port that its first process sends to.
fn beside_bpftrace(zc: &Zc, name: &str) -> Option<(Report, Sent)> {
    let wire = Wire::start()?;
    let work = fixture!(name);
    let report = zc.trace(&work.command());
    let by_port = wire.stop();
    let pid = work.expectation().pid;
    let to_tcp = report
        .flows
        .iter()
        .filter(|flow| flow.pid == pid && flow.destination.kind == Kind::Tcp && flow.bytes > 0);
    let mut ports: Vec<u16> = to_tcp
        .filter_map(|flow| flow.destination.name.as_deref()?.rsplit_once(':')?.1.parse().ok())
        .collect();
    ports.sort_unstable();
    ports.dedup();
    let [port] = ports[..] else { panic!("{name} sends to the ports {ports:?}") };
    let sent =
        *by_port.get(&port).unwrap_or_else(|| panic!("bpftrace saw nothing for port {port} of {name}"));
    Some((report, sent))
}

/// The memory that a fixture's packets are made of is this one: `kinds` picks it from what was sent, the rest must be nothing.
fn leaves_as(name: &str, expected: Sent) {
    let Some(zc) = Zc::with(&["bpftrace"]) else { return };
    let mut last = Sent::default();
    for _ in 0..TRIES {
        let Some((_, sent)) = beside_bpftrace(&zc, name) else { return };
        if sent == expected {
            return;
        }
        last = sent;
    }
    panic!("{name}: bpftrace saw {last:?}, and not {expected:?}");
}

const FILES: u64 = 2 * 13 * 70_001;
const MEMORY: u64 = 13 * 61_441;

#[test]
fn pages_of_files_leave_for_loopback_and_for_devices_with_scatter_gather() {
    for name in ["loopback", "veth", "tmpfs", "overlay"] {
        leaves_as(&format!("bait-sendfile-{name}"), Sent { file: FILES, ..Sent::default() });
    }
    leaves_as("bait-captured", Sent { file: FILES / 2, ..Sent::default() });
    leaves_as("bait-sendfile-left", Sent { file: FILES / 2, ..Sent::default() });
}

#[test]
fn one_piece_of_memory_leaves_for_a_device_without_scatter_gather() {
    leaves_as("bait-sendfile-linear", Sent { linear: FILES, ..Sent::default() });
    leaves_as("bait-splice-linear", Sent { linear: 13 * 50_021, ..Sent::default() });
    for name in
        ["bait-vmsplice-linear", "bait-zerocopy-linear", "bait-ring-linear", "bait-ring-registered-linear"]
    {
        leaves_as(name, Sent { linear: MEMORY, ..Sent::default() });
    }
}

#[test]
fn memory_of_the_process_leaves_for_loopback() {
    for name in
        ["bait-vmsplice-loopback", "bait-vmsplice-veth", "bait-zerocopy-loopback", "bait-ring-registered"]
    {
        leaves_as(name, Sent { anonymous: MEMORY, ..Sent::default() });
    }
    leaves_as("bait-zerocopy-unset", Sent { kernel: MEMORY, ..Sent::default() });
}

/// Storage fills pages of the kernel's own for a file that is open with `O_DIRECT`.
#[test]
fn pages_of_the_kernel_leave_for_a_direct_source() {
    leaves_as("bait-sendfile-direct", Sent { kernel: 13 * 17 * 4096, ..Sent::default() });
}

#[test]
fn headers_leave_in_pages_of_the_kernel_between_pages_of_the_file() {
    let headers = (0..21).map(|round| 77 + 13 * round).sum();
    let files = 3 * (1 + 7 + 1009 + 4096 + 5003 + 70_001 + 131_101);
    leaves_as("bait-headers-loopback", Sent { kernel: headers, file: files, ..Sent::default() });
    leaves_as("bait-headers-linear", Sent { linear: headers + files, ..Sent::default() });
}
