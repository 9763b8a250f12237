//! What left for the wire by an independent witness: bpftrace at `net_dev_start_xmit`, which looks at the memory that each TCP
//! packet is made of. It knows nothing of calls and processes, only ports.
//!
//! `struct skb_shared_info` ends the packet's own memory; a frag is a page, a length and an offset in 16 bytes, from byte 48 of it
//! on. A page that has no mapping is the kernel's, one whose mapping is odd is anonymous memory of a process.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    job::{Job, Running},
    machine,
};

const SCRIPT: &str = r#"
BEGIN { printf("ready\n"); }
tracepoint:net:net_dev_start_xmit
{
  $skb = (struct sk_buff *)args->skbaddr;
  $sk = $skb->sk;
  if ((uint64)$sk != 0) {
    $port = $sk->__sk_common.skc_dport;
    $tcp = (uint64)$skb->head + $skb->transport_header;
    $words = (uint64)*(uint8 *)($tcp + 12) >> 4;
    $own = (uint64)$skb->len - (uint64)$skb->data_len + (uint64)$skb->data - $tcp - 4 * $words;
    if ($sk->__sk_common.skc_family == 2 && $sk->sk_protocol == 6) {
      @packets[$port, "linear"] = sum($own);
      $info = (uint64)$skb->head + (uint64)$skb->end;
      $frags = (uint64)*(uint8 *)($info + 2);
      $i = (uint64)0;
      while ($i < 18) {
        if ($i >= $frags) { break; }
        $frag = $info + 48 + $i * 16;
        $page = *(uint64 *)$frag & 0xfffffffffffffffc;
        $head = *(uint64 *)($page + 8);
        if ($head & 1) { $page = $head - 1; }
        $mapping = *(uint64 *)($page + 24);
        $len = *(uint32 *)($frag + 8);
        if ($mapping == 0) {
          @packets[$port, "kernel"] = sum($len);
        } else {
          if ($mapping & 1) {
            @packets[$port, "anonymous"] = sum($len);
          } else {
            @packets[$port, "file"] = sum($len);
          }
        }
        $i++;
      }
    }
  }
}
"#;

/// Payload that left for one port, by the memory that it was in. What was sent twice counts twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// In the packet's own memory: copied there.
    pub linear: u64,
    /// In pages of the kernel, which copied it there or received it.
    pub kernel: u64,
    /// In anonymous pages of a process.
    pub anonymous: u64,
    /// In pages of the page cache.
    pub file: u64,
}

/// bpftrace at work.
#[derive(Debug)]
pub struct Wire {
    running: Running,
}

impl Wire {
    /// Whether this machine can; says why the test is skipped when not. The caller must be the only one that traces.
    pub fn start() -> Option<Self> {
        if !["bpftrace", "unshare", "mount"].into_iter().all(machine::require_cmd) {
            return None;
        }
        // Its own mounts: tracefs may not be there yet, and nothing is to stay behind.
        let place = "/sys/kernel/tracing";
        let prepare =
            format!("[ -d {place}/events ] || mount -t tracefs tracefs {place}; exec bpftrace -e \"$1\"");
        let mut running = Job::new(&["unshare", "-m", "sh", "-c", &prepare, "sh", SCRIPT]).start();
        running.wait_for_output("ready\n");
        Some(Self { running })
    }

    /// What left since, by the port that it was for.
    pub fn stop(self) -> BTreeMap<u16, Sent> {
        // Acknowledgements may come a moment after what the test waited for.
        std::thread::sleep(Duration::from_millis(100));
        let done = self.running.interrupt();
        assert!(done.status.success(), "bpftrace: {}", done.stderr);
        sums(&String::from_utf8_lossy(&done.stdout))
    }
}

/// Lines like `@packets[PORT, KIND]: BYTES`; the port is in the network's order.
fn sums(printed: &str) -> BTreeMap<u16, Sent> {
    let mut ports: BTreeMap<u16, Sent> = BTreeMap::new();
    for line in printed.lines() {
        let Some((key, bytes)) = line.strip_prefix("@packets[").and_then(|rest| rest.split_once("]: "))
        else {
            continue;
        };
        let (port, kind) = key.split_once(", ").expect("a port and a kind");
        let port: u16 = port.parse().expect("a port");
        let sent = ports.entry(u16::from_be(port)).or_default();
        let place = match kind {
            "linear" => &mut sent.linear,
            "kernel" => &mut sent.kernel,
            "anonymous" => &mut sent.anonymous,
            "file" => &mut sent.file,
            _ => panic!("bpftrace printed {line}"),
        };
        *place = bytes.parse().expect("a number of bytes");
    }
    ports
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_read_by_port_in_the_order_of_this_machine() {
        let port = 5000_u16.to_be();
        let printed = format!(
            "Attaching 2 probes...\nready\n\n@packets[{port}, file]: 7\n@packets[{port}, linear]: 3\n"
        );
        let sent = Sent { linear: 3, file: 7, ..Sent::default() };
        assert_eq!(sums(&printed), BTreeMap::from([(5000, sent)]));
    }
}
