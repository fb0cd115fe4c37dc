//! A kept HTTP/1.1 connection: as little work as possible for each request, because the client
//! shares the processors with the server that it measures.

use std::io;
use std::ops::Range;
use std::time::Duration;

use millstream_clock::task;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::endpoint::Endpoint;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longest head of an answer.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Longest body of an answer.
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// One connection, one request at a time.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// An answer.
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) body: &'a [u8],
}

/// What the head of an answer says.
struct Head {
    status: u16,
    /// Where the body begins.
    end: usize,
    body: Body,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    Length(usize),
    Chunked,
}

impl Connection {
    /// Connects.
    pub(crate) async fn open(endpoint: Endpoint) -> io::Result<Self> {
        let stream = TcpStream::connect(endpoint.addr).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::with_capacity(16 * 1024),
        })
    }

    /// Sends a whole request and waits for its answer.
    pub(crate) async fn send(&mut self, request: &[u8]) -> io::Result<Answer<'_>> {
        let exchanged = task::timeout(PATIENCE, self.exchange(request)).await;
        let (status, body) = exchanged.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        Ok(Answer {
            status,
            body: &self.buffer[body],
        })
    }

    async fn exchange(&mut self, request: &[u8]) -> io::Result<(u16, Range<usize>)> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let head = loop {
            self.fill(1).await?;
            if let Some(head) = head(&self.buffer)? {
                break head;
            }
            if self.buffer.len() > HEAD_BYTES_MAX {
                return Err(bad("its head is too long"));
            }
        };
        let end = match head.body {
            Body::Length(length) => {
                let end = head.end + length;
                self.fill(end.saturating_sub(self.buffer.len())).await?;
                end
            },
            Body::Chunked => self.join_chunks(head.end).await?,
        };
        Ok((head.status, head.end..end))
    }

    /// Reads at least `more` bytes.
    async fn fill(&mut self, more: usize) -> io::Result<()> {
        let wanted = self.buffer.len() + more;
        self.buffer.reserve(more);
        while self.buffer.len() < wanted {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    /// Moves the chunks that begin at `start` together; says where the last one ends.
    async fn join_chunks(&mut self, start: usize) -> io::Result<usize> {
        let (mut joined, mut at) = (start, start);
        loop {
            let line_end = loop {
                let rest = self.buffer.get(at..).unwrap_or_default();
                match find(rest, b"\r\n") {
                    Some(found) => break at + found,
                    None => self.fill(1).await?,
                }
            };
            let size = chunk_size(&self.buffer[at..line_end]).ok_or_else(|| bad("a chunk"))?;
            if joined + size > BODY_BYTES_MAX {
                return Err(bad("its body is too long"));
            }
            let data = line_end + 2;
            let end = data + size + 2;
            self.fill(end.saturating_sub(self.buffer.len())).await?;
            self.buffer.copy_within(data..data + size, joined);
            joined += size;
            at = end;
            if size == 0 {
                return Ok(joined);
            }
        }
    }
}

/// The head, once all of it is there.
fn head(buffer: &[u8]) -> io::Result<Option<Head>> {
    let Some(found) = find(buffer, b"\r\n\r\n") else {
        return Ok(None);
    };
    let text = std::str::from_utf8(&buffer[..found]).map_err(|_| bad("its head"))?;
    let mut lines = text.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1))
        .and_then(|status| status.parse().ok())
        .ok_or_else(|| bad("its first line"))?;
    let mut body = Body::Length(0);
    for line in lines {
        let (name, value) = line.split_once(':').ok_or_else(|| bad("a header"))?;
        if name.eq_ignore_ascii_case("content-length") {
            let length = value.trim().parse().map_err(|_| bad("its length"))?;
            body = Body::Length(length);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            body = Body::Chunked;
        }
    }
    if matches!(body, Body::Length(length) if length > BODY_BYTES_MAX) {
        return Err(bad("its body is too long"));
    }
    let end = found + 4;
    Ok(Some(Head { status, end, body }))
}

fn chunk_size(line: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(line).ok()?;
    let digits = text.split(';').next()?.trim();
    usize::from_str_radix(digits, 16).ok()
}

fn bad(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the answer is not HTTP/1.1: {what}"),
    )
}

/// Where `wanted` begins in `bytes`.
pub(crate) fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, wanted)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// A server that answers each request with the next of `answers`, in pieces of `piece` bytes.
    async fn serve(answers: Vec<&'static str>, piece: usize) -> Endpoint {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("an address");
        drop(task::spawn("test-server", async move {
            let (mut stream, _) = listener.accept().await.expect("a client");
            for answer in answers {
                let mut request = [0; 4];
                stream.read_exact(&mut request).await.expect("a request");
                for part in answer.as_bytes().chunks(piece) {
                    stream.write_all(part).await.expect("the client reads");
                    stream.flush().await.expect("the client reads");
                    tokio::task::yield_now().await;
                }
            }
        }));
        Endpoint { addr }
    }

    #[tokio::test]
    async fn bodies_with_a_length_and_in_chunks_are_read_however_they_are_cut() {
        let answers = vec![
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            "HTTP/1.1 400 Bad Request\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        ];
        for piece in [1, 7, 1000] {
            let endpoint = serve(answers.clone(), piece).await;
            let mut connection = Connection::open(endpoint).await.expect("a connection");
            let mut seen = Vec::new();
            for _ in 0..3 {
                let answer = connection.send(b"ping").await.expect("an answer");
                seen.push((
                    answer.status,
                    String::from_utf8_lossy(answer.body).into_owned(),
                ));
            }
            let wanted = [(200, "hello"), (400, "abcde"), (200, "")];
            assert_eq!(seen, wanted.map(|(status, body)| (status, body.to_owned())));
        }
    }

    #[tokio::test]
    async fn what_is_not_http_is_refused() {
        for answer in [
            "SSH-2.0\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
        ] {
            let endpoint = serve(vec![answer], 1000).await;
            let mut connection = Connection::open(endpoint).await.expect("a connection");
            assert!(connection.send(b"ping").await.is_err());
        }
    }
}
