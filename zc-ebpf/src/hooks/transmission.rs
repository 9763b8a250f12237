//! What devices are given to send, and what memory it is in.

use core::{ffi::c_void, ptr::null_mut};

use aya_ebpf::{
    EbpfContext as _, helpers::generated::bpf_loop, macros::btf_tracepoint, programs::BtfTracePointContext,
};
use zc_common::{
    bounce::{NOT, PARTLY, WHOLLY},
    loss::Loss,
    transmission::{BOUNCED, Class, Stream, TAPPED},
};

use crate::{
    account::transmission::{STREAMS, create, end, unlock, zc_lock, zc_match},
    folio::{ANONYMOUS, MARKS, first_page},
    hooks::bounce,
    kernel::{address_at, current, global, probe, probe_at, typed},
    maps::{is_traced, lose},
    object::encrypts,
};

/// `enum`, in `include/net/tcp_states.h`.
const TCP_SYN_SENT: u32 = 2;
const TCP_SYN_RECV: u32 = 3;
const TCP_CLOSE: u32 = 7;

/// `net_dev_start_xmit(const struct sk_buff *skb, const struct net_device *dev)`, from `xmit_one`: after the buffer was segmented and
/// flattened as the device needs it (`validate_xmit_skb`), and before the driver has it.
#[btf_tracepoint(function = "net_dev_start_xmit")]
pub(crate) fn zc_transmission(ctx: BtfTracePointContext) -> i32 {
    let buffer = address_at(ctx.as_ptr().cast(), 0);
    let sock: u64 = probe!(buffer, skb_sk).unwrap_or(0);
    if sock == 0 {
        return 0;
    }
    let stream = STREAMS.get_ptr_mut(&sock);
    if stream.is_none() {
        // The first bytes of a connection leave before the end of the call that sends them.
        let tgid: u32 = typed!(current(), task_tgid);
        if !is_traced(tgid) || !is_sending(sock) {
            return 0;
        }
    }
    zc_transmitted(buffer, sock, address_at(ctx.as_ptr().cast(), 8), stream.unwrap_or(null_mut()));
    0
}

/// Whether a thread is in a call on the connection: not whoever an interrupt sends for.
#[inline(always)]
fn is_sending(sock: u64) -> bool {
    const AF_INET: u16 = 2;
    const AF_INET6: u16 = 10;
    const IPPROTO_TCP: u16 = 6;
    let family: u16 = probe!(sock, sock_skc_family).unwrap_or(0);
    let protocol: u16 = probe!(sock, sock_sk_protocol).unwrap_or(0);
    let state: u8 = probe!(sock, sock_skc_state).unwrap_or(0);
    let owned: u32 = probe!(sock, sock_sk_lock_owned).unwrap_or(0);
    matches!(family, AF_INET | AF_INET6)
        && protocol == IPPROTO_TCP
        && u32::from(state) != TCP_CLOSE
        && owned != 0
}

/// The payload of a buffer: where it is, and how far it has been looked at.
#[repr(C)]
struct Payload {
    stream: *mut Stream,
    /// The next of the buffer's pages, an `skb_frag_t` of 16 bytes each.
    frag: u64,
    /// How many there are.
    left: u64,
    /// The page whose class this is; pages of one folio follow each other.
    folio: u64,
    folio_class: u32,
    /// What a page of the kernel is in this buffer.
    kernel: u32,
    /// Whether the device is plain.
    is_plain: u32,
    /// [`TAPPED`] and [`BOUNCED`].
    marks: u32,
    /// Bytes `start` to `end` are of `class`, and are not noted yet.
    class: u32,
    start: u32,
    end: u32,
    /// Always zero.
    reserved: u32,
}

/// Finds out what memory the payload of a buffer is in. `stream` is null when the connection is not followed yet. A global function:
/// the verifier looks at it once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn zc_transmitted(buffer: u64, sock: u64, device: u64, stream: *mut Stream) -> u64 {
    transmitted(buffer, sock, device, stream);
    0
}

#[inline(always)]
fn transmitted(buffer: u64, sock: u64, device: u64, stream: *mut Stream) -> Option<()> {
    const SYN: u16 = 0x0200;
    // `SKBFL_SHARED_FRAG`
    const SHARED_FRAG: u8 = 2;
    let head: u64 = probe!(buffer, skb_head)?;
    let data: u64 = probe!(buffer, skb_data)?;
    let len: u32 = probe!(buffer, skb_len)?;
    let data_len: u32 = probe!(buffer, skb_data_len)?;
    let transport: u16 = probe!(buffer, skb_transport_header)?;
    let header = head + u64::from(transport);
    // Its numbers are not those of what was given to the connection, and neither are its bytes.
    if encrypts(sock) {
        return None;
    }
    let port: u16 = probe_at(header)?;
    let sequence: u32 = probe_at(header + 4)?;
    // Of `struct tcphdr`: the length of the header in its highest bits, then flags.
    let bits: u16 = probe_at(header + 12)?;
    let own_port: u16 = probe!(sock, sock_skc_num)?;
    // Inside of a tunnel, the header is that of the tunnel.
    if u16::from_be(port) != own_port {
        return None;
    }
    let headers = (header - data) + u64::from(bits >> 4 & 0xF) * 4;
    let linear = u64::from(len) - u64::from(data_len);
    if headers > linear || u64::from(len) == headers {
        return None;
    }
    let linear = (linear - headers) as u32;
    let start = u32::from_be(sequence).wrapping_add(u32::from(bits & SYN != 0));
    let end = start.wrapping_add(linear).wrapping_add(data_len);

    let stream = if stream.is_null() { create(sock, start)? } else { stream };
    let what = zc_device(stream, device);
    // SAFETY: map memory.
    let (known, known_device) = unsafe {
        ((&raw const (*stream).log_end).read_volatile(), (&raw const (*stream).device).read_volatile())
    };
    let above = bounce::above(device);
    let bounced =
        if above != 0 && bounce::has_bounced() { bounce::zc_how_bounced(above) } else { NOT.into() };
    if above != 0 && bounced == NOT.into() {
        bounce::note(sock, above, end.wrapping_sub(start));
    }
    if end.wrapping_sub(known).wrapping_sub(1) >> 31 != 0 {
        // It is sent again, or given on by a device to one below it, for which it was flattened, or whose driver copies.
        let doubt = if bounced == NOT.into() { linear } else { end.wrapping_sub(start) };
        if doubt != 0 && device != known_device {
            // SAFETY: as above.
            unsafe {
                let doubtful = &raw mut (*stream).doubtful;
                doubtful.write_volatile(doubtful.read_volatile().wrapping_add(doubt));
            }
        }
        return None;
    }
    let is_plain = what & PLAIN != 0;
    // SAFETY: as above.
    unsafe {
        (&raw mut (*stream).device).write_volatile(device);
        (&raw mut (*stream).device_is_plain).write_volatile(u32::from(is_plain));
    }
    let is_plain = is_plain && bounced != PARTLY.into();

    let shared = head + u64::from(probe!(buffer, skb_end).unwrap_or(0_u32));
    // `flags`, the first member.
    let flags: u8 = probe_at(shared)?;
    let number: u8 = probe!(shared, skb_shared_nr_frags)?;
    let of = |class: Class| if is_plain { class } else { Class::Elsewhere } as u32;
    let flat = if what & SCATTER_GATHER == 0 { Class::Flattened } else { Class::Linear };
    let mut payload = Payload {
        stream,
        frag: shared + u64::from(global!(OFFSETS.skb_shared_frags)),
        left: number.into(),
        folio: 0,
        folio_class: 0,
        kernel: of(if flags & SHARED_FRAG == 0 { Class::Private } else { Class::Handed }),
        is_plain: u32::from(is_plain),
        marks: if what & CAPTURED == 0 { 0 } else { TAPPED }
            | if bounced == WHOLLY.into() { BOUNCED } else { 0 },
        class: of(flat),
        start,
        end: start.wrapping_add(linear),
        reserved: 0,
    };
    if number != 0 {
        // SAFETY: `next_frag` has the signature of a callback, and `payload` is its context.
        unsafe { bpf_loop(FRAGS_MAX, next_frag as *mut c_void, (&raw mut payload).cast(), 0) };
    }
    payload.note();
    if payload.end != end {
        // A list of buffers, which TCP does not make.
        payload.class = of(Class::Elsewhere);
        payload.end = end;
        payload.note();
    }
    zc_match(stream);
    Some(())
}

/// `CONFIG_MAX_SKB_FRAGS` is 17, or up to 45.
const FRAGS_MAX: u32 = 48;

/// What a device is given is what leaves, as far as the machine can tell.
const PLAIN: u64 = 1;
/// It takes buffers in pieces.
const SCATTER_GATHER: u64 = 2;
/// Its packets are captured.
const CAPTURED: u64 = 4;

/// What is known of a device. A global function, as above.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn zc_device(stream: *mut Stream, device: u64) -> u64 {
    if stream.is_null() {
        return 0;
    }
    // SAFETY: map memory.
    let (known, known_is_plain) = unsafe {
        (
            (&raw const (*stream).device).read_volatile(),
            (&raw const (*stream).device_is_plain).read_volatile(),
        )
    };
    let is_plain = if known == device { known_is_plain != 0 } else { is_plain(device) };
    // `NETIF_F_SG_BIT`
    let features: u64 = probe!(device, device_features).unwrap_or(0);
    let captures = device + u64::from(global!(OFFSETS.device_ptype_all));
    let first: u64 = probe_at(captures).unwrap_or(captures);
    let captured = if first == captures { 0 } else { CAPTURED };
    u64::from(is_plain) | (features & 1) << 1 | captured
}

/// Whether a device is hardware, loopback, or one that gives what it is given to the next device or name space as it is.
/// Tunnels and the like make something else of it.
#[inline(always)]
fn is_plain(device: u64) -> bool {
    const KINDS: [&[u8; 8]; 8] = [
        b"veth\0\0\0\0",
        b"vlan\0\0\0\0",
        b"bond\0\0\0\0",
        b"bridge\0\0",
        b"team\0\0\0\0",
        b"macvlan\0",
        b"ipvlan\0\0",
        b"netkit\0\0",
    ];
    let operations: u64 = probe!(device, device_rtnl_link_ops).unwrap_or(0);
    if operations == 0 {
        return true;
    }
    let kind: u64 = probe!(operations, link_kind).unwrap_or(0);
    let name: u64 = probe_at(kind).unwrap_or(0);
    let mut index = 0;
    while index < KINDS.len() {
        // What comes after the end of the name is something else's.
        let wanted = u64::from_le_bytes(*KINDS[index]);
        let length = 8 - wanted.leading_zeros() / 8 + 1;
        let mask = u64::MAX >> (8 * (8 - length));
        if (name ^ wanted) & mask == 0 {
            return true;
        }
        index += 1;
    }
    false
}

impl Payload {
    /// Notes what is not noted yet. What follows is another class.
    #[inline(always)]
    fn note(&mut self) {
        if self.start != self.end {
            zc_log(self.stream, self.start.into(), self.end.into(), (self.class | self.marks).into());
            self.start = self.end;
        }
    }

    /// What memory a page is, by its `mapping`: that of a file, `FOLIO_MAPPING_ANON`, or none.
    #[inline(always)]
    fn class_of(&mut self, page: u64) -> u32 {
        if page & 1 != 0 || self.is_plain == 0 {
            // Memory of a device (`net_iov`).
            return Class::Elsewhere as u32;
        }
        let folio = first_page(page).unwrap_or(page);
        if folio == self.folio {
            return self.folio_class;
        }
        self.folio = folio;
        self.folio_class = match probe!(folio, page_mapping) {
            None => Class::Elsewhere as u32,
            Some(0_u64) => self.kernel,
            Some(mapping) if mapping & ANONYMOUS != 0 => Class::User as u32,
            Some(mapping) if mapping & MARKS != 0 => self.kernel,
            Some(_) => Class::PageCache as u32,
        };
        self.folio_class
    }
}

/// Goes on by one page. An `skb_frag_t` is a page (or `net_iov`), a length and an offset.
#[inline(never)]
extern "C" fn next_frag(_index: u32, payload: *mut c_void) -> i64 {
    // SAFETY: what `bpf_loop` was given.
    let payload = unsafe { &mut *payload.cast::<Payload>() };
    let (page, len): (u64, u32) =
        (probe_at(payload.frag).unwrap_or(1), probe_at(payload.frag + 8).unwrap_or(0));
    let class = payload.class_of(page);
    if class != payload.class {
        payload.note();
        payload.class = class;
    }
    payload.end = payload.end.wrapping_add(len);
    payload.frag += 16;
    payload.left -= 1;
    i64::from(payload.left == 0)
}

/// Notes of what class bytes were. A global function, as above.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn zc_log(stream: *mut Stream, start: u64, end: u64, class: u64) -> u64 {
    if stream.is_null() {
        return 0;
    }
    // SAFETY: callers pass map memory.
    let lock = unsafe { &raw mut (*stream).log_lock };
    if zc_lock(lock) == 0 {
        lose(Loss::TransmissionsUnmatched);
        return 0;
    }
    // SAFETY: map memory, and the lock is held.
    let kept = unsafe { Stream::log(stream, start as u32, end as u32, class as u32) };
    unlock(lock);
    if !kept {
        lose(Loss::TransmissionsUnmatched);
    }
    1
}

/// `inet_sock_set_state(const struct sock *sk, const int oldstate, const int newstate)`: a connection ends, or another one begins
/// where it was. When it ends, all that it had to send has been sent, or will not be.
#[btf_tracepoint(function = "inet_sock_set_state")]
pub(crate) fn zc_connection(ctx: BtfTracePointContext) -> i32 {
    let state: u32 = ctx.arg(2);
    if matches!(state, TCP_SYN_SENT | TCP_SYN_RECV | TCP_CLOSE) {
        end(address_at(ctx.as_ptr().cast(), 0));
    }
    0
}
