//! nginx in the ways that its operators set it up: which path the bodies take, and with how many bytes.
//!
//! The witnesses: nginx's own log, curl's count, and for each worker what the kernel counted in `/proc/PID/io`.

use std::fs;

use zc_tests::{
    expect::Kind,
    nginx::{Logged, Nginx, SIZE, SMALL},
    report::Report,
    zc::Zc,
};

const LARGE_GETS: u64 = 3;
const SMALL_GETS: u64 = 5;
const BODIES: u64 = LARGE_GETS * SIZE as u64 + SMALL_GETS * SMALL as u64;

/// Serves the random files, and returns the report and the bytes that were sent with them as headers.
fn served(zc: &Zc, nginx: &Nginx) -> (Report, u64) {
    let serving = nginx.start(zc);
    (0..LARGE_GETS).for_each(|_| nginx.get("large.bin", SIZE));
    (0..SMALL_GETS).for_each(|_| nginx.get("small.bin", SMALL));
    let report = nginx.stop(serving);
    let Logged { sent, bodies, .. } = nginx.logged();
    assert_eq!(bodies, BODIES, "nginx's own log");
    (report, sent - bodies)
}

/// A thread of the pool sends, and so may the event loop, after it.
#[test]
fn threads_of_nginx_send_files() {
    let Some(zc) = Zc::with(&["nginx", "curl"]) else { return };
    let nginx = Nginx::new("sendfile on; aio threads;");
    let (report, headers) = served(&zc, &nginx);
    assert_eq!(report.bytes("sendfile", Kind::File, Kind::Tcp), BODIES);
    assert_eq!(report.bytes("write", Kind::Memory, Kind::Tcp), headers);
    assert_eq!(report.bytes("read+write", Kind::File, Kind::Tcp), 0);
}

/// A thread of the pool reads the file, and the event loop writes it.
#[test]
fn what_a_thread_of_nginx_reads_and_the_event_loop_writes_is_one_transfer() {
    let Some(zc) = Zc::with(&["nginx", "curl"]) else { return };
    let nginx = Nginx::new("sendfile off; aio threads;");
    let (report, headers) = served(&zc, &nginx);
    assert_eq!(report.bytes("read+write", Kind::File, Kind::Tcp), BODIES);
    assert_eq!(report.bytes("write", Kind::Memory, Kind::Tcp), headers);
    let large = nginx.text("www/large.bin");
    assert_eq!(report.flow_bytes(None, "read+write", Some(&large), None), LARGE_GETS * SIZE as u64);
    assert_eq!(report.flow_bytes(None, "read", Some(&large), None), 0, "no byte of the file stays a leg");
}

/// With directio, sendfile is not used for large files; the end of a file that fills no sector is read through the
/// page cache.
#[test]
fn nginx_with_directio_reads_past_the_page_cache() {
    let Some(zc) = Zc::with(&["nginx", "curl"]) else { return };
    let nginx = Nginx::new("sendfile on; directio 64k; output_buffers 2 128k;");
    let (report, headers) = served(&zc, &nginx);
    let small = SMALL_GETS * SMALL as u64;
    assert_eq!(report.bytes("sendfile", Kind::File, Kind::Tcp), small, "small files");
    assert_eq!(report.bytes("read+write", Kind::File, Kind::Tcp), BODIES - small, "large files");
    assert_eq!(report.bytes("write", Kind::Memory, Kind::Tcp), headers);
    let rows = report.processes.iter().filter_map(|process| process.row("read+write", Kind::File, Kind::Tcp));
    let (mut copied, mut device_read) = (0, 0);
    for row in rows {
        assert_eq!((row.verdict.as_str(), row.unknown_bytes), ("copied", Some(0)));
        copied += row.cpu_copied_bytes.expect("known copies");
        device_read += row.device_read_bytes.expect("known reads of the device");
    }
    let ends = LARGE_GETS * (SIZE as u64 % (128 * 1024));
    assert_eq!(copied, BODIES - small + ends, "one copy to the socket, and two of the end of the file");
    // Blocks of the file system's own may come with them.
    let direct = BODIES - small - ends;
    assert!((direct..direct + 65_536).contains(&device_read), "{device_read} bytes of {direct}");
}

#[test]
fn nginx_with_gzip_reads_all_and_sends_less_from_memory() {
    let Some(zc) = Zc::with(&["nginx", "curl"]) else { return };
    let nginx = Nginx::new("sendfile on; gzip on; gzip_types text/plain;");
    let serving = nginx.start(&zc);
    for _ in 0..LARGE_GETS {
        let got = nginx.get_with(&["-H", "Accept-Encoding: gzip"], "text.txt");
        assert!(got < SIZE as u64 / 10, "{got} bytes are not compressed");
    }
    nginx.get("text.txt", SIZE);
    let report = nginx.stop(serving);
    let Logged { sent, bodies, .. } = nginx.logged();
    assert!(bodies < 2 * SIZE as u64, "nginx's own log");
    let text = nginx.text("www/text.txt");
    assert_eq!(report.flow_bytes(None, "read", Some(&text), None), LARGE_GETS * SIZE as u64, "to compress");
    assert_eq!(report.flow_bytes(None, "sendfile", Some(&text), None), SIZE as u64, "as it is");
    // The end of a chunked body is a constant in the program, which is a file that is mapped.
    let constants = LARGE_GETS * "\r\n0\r\n\r\n".len() as u64;
    assert_eq!(report.bytes("mmap+write", Kind::File, Kind::Tcp), constants);
    let made = sent - SIZE as u64 - constants;
    assert_eq!(report.bytes("write", Kind::Memory, Kind::Tcp), made, "headers and what gzip made");
    assert_eq!(report.bytes("read+write", Kind::File, Kind::Tcp), 0);
}

/// TLS in user space: the file is read, and something else, a little longer, is written.
#[test]
fn nginx_with_tls_copies_what_it_would_have_sent() {
    let Some(zc) = Zc::with(&["nginx", "curl", "openssl"]) else { return };
    let nginx = Nginx::with_tls("sendfile on;");
    let (report, headers) = served(&zc, &nginx);
    assert_eq!(
        report.bytes("sendfile", Kind::File, Kind::Tcp),
        0,
        "there is no sendfile through user-space TLS"
    );
    assert_eq!(report.bytes("read+write", Kind::File, Kind::Tcp), 0);
    let (large, small) = (nginx.text("www/large.bin"), nginx.text("www/small.bin"));
    let read = |name| report.flow_bytes(None, "read", Some(name), None);
    assert_eq!(read(&large) + read(&small), BODIES);
    let written = report.bytes("write", Kind::Memory, Kind::Tcp);
    let plain = BODIES + headers;
    // A record of 16 KiB has 22 bytes more; a handshake sends some thousand.
    let most = plain + plain / 512 + (LARGE_GETS + SMALL_GETS) * 8192;
    assert!((plain..most).contains(&written), "{written} bytes sent for {plain}");
    let log = report.flow_bytes(None, "write", None, Some(&nginx.text("access.log")));
    assert_eq!(log, fs::metadata(nginx.path("access.log")).expect("the log").len());
}
