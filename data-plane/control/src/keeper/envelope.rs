//! What goes around a kept file: a first line with magic, version and checksum.
//!
//! Format: `docs/formats/node-files.md`.

const MAGIC: &str = "millstream";
const VERSION: u32 = 1;

/// `body` with its first line. The kind is a word.
pub(crate) fn seal(kind: &str, body: &[u8]) -> Vec<u8> {
    let sum = crc32c::crc32c(body);
    let mut bytes = format!("{MAGIC} attached-{kind} {VERSION} crc32c={sum:08x}\n").into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// The body, if the first line is right.
pub(crate) fn open<'a>(kind: &str, bytes: &'a [u8]) -> Result<&'a [u8], &'static str> {
    let end = bytes
        .iter()
        .position(|byte| *byte == b'\n')
        .ok_or("it has no first line")?;
    let (head, body) = (&bytes[..end], &bytes[end + 1..]);
    let head = std::str::from_utf8(head).map_err(|_| "its first line is no text")?;
    let magic = format!("{MAGIC} attached-{kind} {VERSION} crc32c=");
    let sum = head
        .strip_prefix(&magic)
        .ok_or("its first line is not of this kind and version")?;
    if sum == format!("{:08x}", crc32c::crc32c(body)) {
        Ok(body)
    } else {
        Err("its checksum is wrong")
    }
}
