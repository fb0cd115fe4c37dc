//! The socket, counting what goes through it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::watch::Activity;

/// What every HTTP/2 connection begins with.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A socket whose reads and writes are counted for the watchdog.
#[derive(Debug)]
pub(crate) struct CountedIo<T> {
    inner: T,
    activity: Arc<Activity>,
    /// How much of the preface was seen; none when this is no HTTP/2 connection, or it is known.
    preface: Option<usize>,
}

impl<T> CountedIo<T> {
    pub(crate) fn new(inner: T, activity: Arc<Activity>) -> Self {
        Self {
            inner,
            activity,
            preface: Some(0),
        }
    }

    fn look_for_preface(&mut self, read: &[u8]) {
        let Some(seen) = self.preface else {
            return;
        };
        let rest = &PREFACE[seen..];
        let length = rest.len().min(read.len());
        if rest[..length] != read[..length] {
            self.preface = None;
        } else if length == rest.len() {
            self.preface = None;
            self.activity.is_http2();
        } else {
            self.preface = Some(seen + length);
        }
    }

    fn count_write(&self, outcome: &Poll<io::Result<usize>>) {
        match outcome {
            Poll::Ready(Ok(bytes)) => self.activity.wrote(*bytes as u64),
            Poll::Ready(Err(_)) => {},
            Poll::Pending => self.activity.write_is_blocked(),
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for CountedIo<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut this.inner).poll_read(cx, buffer);
        let read = &buffer.filled()[before..];
        if !read.is_empty() {
            this.activity.read(read.len() as u64);
            if this.preface.is_some() {
                this.look_for_preface(read);
            }
        }
        outcome
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for CountedIo<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.inner).poll_write(cx, bytes);
        this.count_write(&outcome);
        outcome
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.inner).poll_write_vectored(cx, slices);
        this.count_write(&outcome);
        outcome
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}
