//! Connections: how many, how long, and who is at their other end.

use std::{io, net, os::unix, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::{
    Request, Response, StatusCode, body::Incoming, header::ACCEPT, server::conn::http1, service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener, UnixStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    time,
};

use super::routes::{Asked, Body, Peer, answer, refuse};
use crate::daemon::handle::Handle;

/// For the head of a request.
const HEAD_TIME: Duration = Duration::from_secs(5);
/// For a whole connection, however many requests it has: who is slow is not waited for.
const CONNECTION_TIME: Duration = Duration::from_secs(120);
/// Of a request's body.
const BODY_BYTES: usize = 256 << 10;
/// Of a request's head.
const HEAD_BYTES: usize = 16 << 10;
/// How long to wait when a connection cannot be accepted, for want of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// How many connections there may be.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// At the same time; further ones wait to be accepted.
    pub clients_max: usize,
}

/// Where clients come in.
#[derive(Debug)]
pub struct Listeners {
    /// The Unix socket.
    pub unix: unix::net::UnixListener,
    /// A new one, when the old one was removed from under the daemon.
    pub again: mpsc::Receiver<unix::net::UnixListener>,
    /// Loopback.
    pub tcp: Option<net::TcpListener>,
}

/// Serves until `end` says so.
pub async fn serve(
    handle: Handle,
    listeners: Listeners,
    bounds: Bounds,
    mut end: watch::Receiver<bool>,
) -> io::Result<()> {
    let Listeners { unix, mut again, tcp } = listeners;
    let mut unix = UnixListener::from_std(unix)?;
    let tcp = tcp.map(TcpListener::from_std).transpose()?;
    // Apart, so that neither can keep the other's clients out.
    let places = Arc::new(Semaphore::new(bounds.clients_max));
    let public_places = Arc::new(Semaphore::new(bounds.clients_max));
    loop {
        tokio::select! {
            _ = end.wait_for(|end| *end) => return Ok(()),
            Some(listener) = again.recv() => unix = UnixListener::from_std(listener)?,
            (place, accepted) = accept_unix(&unix, &places) => match accepted {
                Ok(stream) => {
                    let peer = peer_of(&stream);
                    tokio::spawn(connection(handle.clone(), stream, peer, place));
                }
                Err(error) => pause(&error).await,
            },
            (place, accepted) = accept_tcp(tcp.as_ref(), &public_places) => match accepted {
                Ok(stream) => {
                    tokio::spawn(connection(handle.clone(), stream, Some(Peer::Anybody), place));
                }
                Err(error) => pause(&error).await,
            },
        }
    }
}

async fn accept_unix(
    listener: &UnixListener,
    places: &Arc<Semaphore>,
) -> (Option<OwnedSemaphorePermit>, io::Result<UnixStream>) {
    let place = Arc::clone(places).acquire_owned().await.ok();
    (place, listener.accept().await.map(|(stream, _)| stream))
}

async fn accept_tcp(
    listener: Option<&TcpListener>,
    places: &Arc<Semaphore>,
) -> (Option<OwnedSemaphorePermit>, io::Result<tokio::net::TcpStream>) {
    let Some(listener) = listener else { return std::future::pending().await };
    let place = Arc::clone(places).acquire_owned().await.ok();
    (place, listener.accept().await.map(|(stream, _)| stream))
}

async fn pause(error: &io::Error) {
    tracing::warn!(%error, "cannot accept a connection");
    time::sleep(PAUSE).await;
}

/// `SO_PEERCRED`: who the other end was when it connected.
fn peer_of(stream: &UnixStream) -> Option<Peer> {
    let uid = stream.peer_cred().ok()?.uid();
    let own = nix::unistd::geteuid().as_raw();
    Some(Peer::User { uid, may_change: uid == 0 || uid == own })
}

async fn connection<S>(handle: Handle, stream: S, peer: Option<Peer>, _place: Option<OwnedSemaphorePermit>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    // Nobody is given an answer who is not known.
    let Some(peer) = peer else { return };
    let service = service_fn(move |request| {
        let handle = handle.clone();
        async move { Ok::<_, std::convert::Infallible>(respond(&handle, peer, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    match time::timeout(CONNECTION_TIME, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection ended early"),
        Err(_) => tracing::debug!("a connection took too long"),
    }
}

async fn respond(handle: &Handle, peer: Peer, request: Request<Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body = match Limited::new(body, BODY_BYTES).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            return refuse(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than 256 KiB");
        }
        Err(error) => {
            tracing::debug!(%error, "a request ended early");
            Bytes::new()
        }
    };
    let accept: Vec<_> =
        head.headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let asked = Asked {
        method: head.method,
        accept: accept.join(","),
        path: head.uri.path().to_owned(),
        query: head.uri.query().map(str::to_owned),
        body,
    };
    let response = answer(handle, peer, &asked).await;
    tracing::debug!(?peer, method = %asked.method, path = asked.path, status = response.status().as_u16(), "answered");
    response
}
