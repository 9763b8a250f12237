//! Asking a daemon that runs.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, StatusCode, client::conn::http1, header::HOST};
use hyper_util::rt::TokioIo;
use tokio::{net::UnixStream, time};

/// For an answer.
const TIME: Duration = Duration::from_secs(30);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// None runs, or not here.
    #[error("no daemon answers at {}: {source}; start one with `zc daemon`, or name its socket with --socket", socket.display())]
    NoDaemon {
        /// Where it was looked for.
        socket: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// This user may not ask.
    #[error("may not ask the daemon at {}: only root and the members of its group may (`api.group` in its configuration)", socket.display())]
    NotPermitted {
        /// Its socket.
        socket: PathBuf,
    },
    /// It refused.
    #[error("the daemon says: {0}")]
    Refused(String),
    /// It did not answer as it should.
    #[error("the daemon at {} does not answer as one: {message}", socket.display())]
    Strange {
        /// Its socket.
        socket: PathBuf,
        /// How.
        message: String,
    },
}

/// Gets the answer to `path`, with parameters if it has any.
pub fn get(socket: &Path, path: &str) -> Result<Bytes, ClientError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|source| ClientError::NoDaemon { socket: socket.to_owned(), source })?;
    runtime.block_on(fetch(socket, path))
}

/// The same for who has an event loop.
pub async fn fetch(socket: &Path, path: &str) -> Result<Bytes, ClientError> {
    let strange = |message: String| ClientError::Strange { socket: socket.to_owned(), message };
    match time::timeout(TIME, ask(socket, path)).await {
        Ok(answer) => answer,
        Err(_) => Err(strange(format!("no answer in {} seconds", TIME.as_secs()))),
    }
}

async fn ask(socket: &Path, path: &str) -> Result<Bytes, ClientError> {
    let strange = |error: &dyn std::error::Error| ClientError::Strange {
        socket: socket.to_owned(),
        message: error.to_string(),
    };
    let stream = UnixStream::connect(socket).await.map_err(|source| match source.kind() {
        io::ErrorKind::PermissionDenied => ClientError::NotPermitted { socket: socket.to_owned() },
        _ => ClientError::NoDaemon { socket: socket.to_owned(), source },
    })?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| strange(&error))?;
    tokio::spawn(connection);
    let request =
        Request::get(path).header(HOST, "zc").body(Empty::<Bytes>::new()).map_err(|error| strange(&error))?;
    let response = sender.send_request(request).await.map_err(|error| strange(&error))?;
    let status = response.status();
    let body = response.into_body().collect().await.map_err(|error| strange(&error))?.to_bytes();
    if status == StatusCode::OK { Ok(body) } else { Err(ClientError::Refused(refusal(status, &body))) }
}

fn refusal(status: StatusCode, body: &[u8]) -> String {
    let said: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let error = said.as_ref().and_then(|said| said["error"].as_str());
    error.map_or_else(|| status.to_string(), str::to_owned)
}
